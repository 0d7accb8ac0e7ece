"""A real browser for tests.

Belongs here: how it is found and started, and pictures of its pages. Does not belong here: what is
read on a page.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import Error, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Maps need WebGL, which a machine without a graphics card draws in software.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)

START_MS = 60_000

PICTURES = 4
"""How often a picture is tried: the browser of a busy machine may be unable to take one."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser of the system; it keeps what it knows in a new folder."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found is not None, (
        f"none of {', '.join(BROWSERS)} is installed; scripts/system-packages test installs one"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=list(ARGUMENTS), timeout=START_MS
        )
        yield browser
        browser.close()


def photograph(page: Page, path: Path | None = None, *, full_page: bool = False) -> bytes:
    """Take a picture of a page, and keep it at a path."""
    for _ in range(PICTURES - 1):
        try:
            return page.screenshot(path=path, full_page=full_page)
        except Error as error:
            if "Unable to capture screenshot" not in error.message:
                raise
            page.wait_for_timeout(1_000)
    return page.screenshot(path=path, full_page=full_page)
