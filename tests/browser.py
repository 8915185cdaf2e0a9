"""Pages opened in the installed Chromium; no test brings a browser of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_OWN = ("file:", "data:", "about:")


@dataclass
class Watched:
    """A page that is open, and what it did.

    Attributes:
        asked: addresses outside the file that it asked for; they were not let through.
        said: what it wrote to the console as warning or error, and errors of scripts.
    """

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def chromium() -> str:
    """The installed one; without, the test is skipped and says so."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """One for several pages; each gets a profile of its own."""
    program = chromium()
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=[*_FLAGS]) as browser,
    ):
        yield browser


@contextmanager
def opened_page(
    file: Path,
    *,
    width_px: int = 1200,
    height_px: int = 900,
    dark: bool = False,
    browser: Browser | None = None,
) -> Iterator[Watched]:
    """A file in a browser with a profile of its own, which goes when the block ends."""
    with (
        running_chromium() if browser is None else nullcontext(browser) as running,
        running.new_context(
            viewport={"width": width_px, "height": height_px},
            color_scheme="dark" if dark else "light",
        ) as context,
    ):
        page = context.new_page()
        watched = Watched(page)

        def route(request: Any) -> None:
            url = request.request.url
            if url.startswith(_OWN):
                request.continue_()
            else:
                watched.asked.append(url)
                request.abort()

        context.route("**/*", route)
        page.on(
            "console",
            lambda message: (
                watched.said.append(message.text) if message.type in ("warning", "error") else None
            ),
        )
        page.on("pageerror", lambda error: watched.said.append(str(error)))
        page.goto(file.resolve().as_uri())
        yield watched
