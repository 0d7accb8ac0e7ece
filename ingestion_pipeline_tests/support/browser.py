"""A real browser for tests.

Belongs here: how it is found and started. Does not belong here: what is read on a page.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

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
