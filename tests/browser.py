"""Headless Chromium, and what a page did while it was open."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REQUIRED = "CORE_TOKENS_REQUIRE_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = 1300, 390


@contextmanager
def launched() -> Iterator["Browser"]:
    """Start Chromium; where there is none skip, or fail if ``REQUIRED`` is in the environment."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _missing("playwright is not installed: make env")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:  # without a path: the one that `playwright install chromium` brings
            found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            _missing(f"Chromium does not start: {str(error).splitlines()[0]}")
        yield found
        found.close()


def _missing(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but {reason}")
    pytest.skip(reason)


@dataclass
class Opened:
    """A page, and what it asked for and complained of since it was opened."""

    page: "Page"
    uri: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def check_quiet(self) -> None:
        """It asked for nothing but itself, and nothing went wrong."""
        assert self.requests == [self.uri]
        assert self.complaints == []

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What a JavaScript expression or function gives."""
        return self.page.evaluate(script, argument)


@contextmanager
def opened(
    browser: "Browser",
    path: Path,
    drawn: str,
    width: int = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Opened]:
    """Open a file in a window of its own, and wait until all is drawn.

    Args:
        browser: to open it in.
        path: of the page.
        drawn: a JavaScript expression that is true once it is.
        width: of the window, in pixels.
        scheme: what the system prefers.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(15_000)
    found = Opened(page, path.as_uri())
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("requestfailed", lambda request: found.complaints.append(f"failed: {request.url}"))
    page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: found.complaints.append(f"dialog: {dialog.message}"))
    page.on("crash", lambda _: found.complaints.append("crash"))
    page.on(
        "console",
        lambda message: (
            found.complaints.append(f"console: {message.text}") if message.type == "error" else None
        ),
    )
    page.goto(found.uri)
    page.wait_for_function(f"() => {drawn}")
    yield found
    context.close()
