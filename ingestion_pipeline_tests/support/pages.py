"""A page in a real browser: what it shows, says and requests.

Belongs here: what tests of maps and of the review page read in the same way. Does not belong here:
starting the browser (`browser.py`), and expectations of one page.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from ingestion_pipeline_tests.support.browser import photograph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, FloatRect, Page, ViewportSize

    from ingestion_pipeline.core.legend import Group

DESKTOP: ViewportSize = {"width": 1300, "height": 850}
PHONE: ViewportSize = {"width": 360, "height": 740}
SOON_MS = 60_000

FRAMES = """async () => {
    const times = [];
    let last = performance.now();
    const until = last + 3000;
    while (last < until) {
        const now = await new Promise(requestAnimationFrame);
        times.push(now - last);
        last = now;
    }
    return times.slice(1).sort((a, b) => a - b);
}"""
"""The milliseconds between frames in three seconds, in ascending order."""


@dataclass
class Opened:
    """A page, what its console said, and the hosts that it requested something from."""

    page: Page
    told: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "file"):
            self.hosts.add(parts.netloc)

    @property
    def box(self) -> FloatRect:
        box = self.page.locator("#map").bounding_box()
        assert box is not None
        return box

    def picture(self) -> Image.Image:
        """The map as it is drawn, without what stands over its edges."""
        box = self.box
        shot = Image.open(BytesIO(photograph(self.page))).convert("RGB")
        left, top = round(box["x"]), round(box["y"])
        right, bottom = left + round(box["width"]), top + round(box["height"])
        return shot.crop((left, top, right - 50, bottom - 40))

    def pan(self) -> list[float]:
        """Move the map by the mouse; return the milliseconds between frames, in order of size."""
        self.page.evaluate(f"window.frames_ = ({FRAMES})()")
        box = self.box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for step in range(60):
            self.page.mouse.move(x - 4 * step, y - 2 * step)
            self.page.wait_for_timeout(16)
        self.page.mouse.up()
        frames: list[float] = self.page.evaluate("window.frames_")
        return frames

    def violations(self) -> list[str]:
        """What axe-core finds that is serious or worse."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['nodes'][0]['html']}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]


Kind = TypeVar("Kind", bound=Opened)


@contextmanager
def opened_as(
    kind: type[Kind], browser: Browser, url: str, *, before: str = "", **context: Any
) -> Iterator[Kind]:
    """Open a page in a session of its own; its console must stay empty.

    Args:
        kind: What reads it.
        browser: The browser.
        url: Its address.
        before: A script that runs before those of the page.
        context: Options of the session.
    """
    options = {"viewport": DESKTOP, "reduced_motion": "reduce"} | context
    with browser.new_context(**options) as session:
        page = session.new_page()
        page.set_default_timeout(SOON_MS)
        shown = kind(page)
        page.on("console", lambda message: shown.told.append(f"{message.type} {message.text}"))
        page.on("pageerror", lambda error: shown.told.append(str(error)))
        page.on("request", lambda request: shown.note(request.url))
        if before:
            page.add_init_script(before)
        page.goto(url)
        yield shown
        assert shown.told == []


def has_colour(picture: Image.Image, group: Group) -> bool:
    """Return whether a symbol in the group's colour is in the picture: 20 pixels of it."""
    colour = tuple(int(group.colour[at : at + 2], 16) for at in (1, 3, 5))
    colours = picture.getcolors(picture.width * picture.height) or []
    return sum(count for count, found in colours if found == colour) >= 20
