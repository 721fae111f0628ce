"""A headless Chromium on this machine, in a thread of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from motivnet.errors import MissingDependencyError, RuntimeUnavailableError

try:
    from playwright.sync_api import Error, Page, Playwright, sync_playwright
except ModuleNotFoundError as error:
    raise MissingDependencyError("playwright", extra="browser") from error

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_NOTHING_ELSE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""The folder may come from somebody else; its scripts reach this machine's server alone."""

T = TypeVar("T")


class Chromium:
    """An open page at an address; calls to it go through one thread, as Playwright asks.

    Args:
        url: What is opened.

    Raises:
        RuntimeUnavailableError: If there is no Chromium, or it does not start.
    """

    def __init__(self, url: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="motivnet-chromium")
        self._playwright: Playwright | None = None
        self._page: Page | None = None
        try:
            self._thread.submit(self._open, url).result()
        except BaseException:
            self.close()
            raise

    def evaluate(self, function: str, argument: object = None) -> Any:
        """Return what a JavaScript function returns in the page.

        Raises:
            RuntimeUnavailableError: With the page's own sentence, if the function throws.
        """
        page = self._page
        if page is None:
            raise RuntimeUnavailableError("the browser is closed")
        return self._call(lambda: page.evaluate(function, argument))

    def close(self) -> None:
        """End the browser; a second call does nothing."""
        self._page = None
        self._thread.submit(self._end).result()
        self._thread.shutdown()

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return self._thread.submit(call).result()
        except Error as error:
            raise RuntimeUnavailableError(_sentence(error)) from error

    def _open(self, url: str) -> None:
        self._playwright = sync_playwright().start()
        path = find_chromium(self._playwright)
        options = ["--enable-unsafe-webgpu", _NOTHING_ELSE]
        try:
            browser = self._playwright.chromium.launch(executable_path=path, args=options)
            self._page = browser.new_page()
            self._page.set_default_timeout(0)  # a large model takes its time
            self._page.goto(url)
        except Error as error:
            raise RuntimeUnavailableError(
                f"{path} does not run here: {_sentence(error)}"
            ) from error

    def _end(self) -> None:
        if self._playwright is not None:
            self._playwright.stop()  # and the browser with it
            self._playwright = None


def find_chromium(playwright: Playwright) -> Path:
    """Return the program: Playwright's own if it was installed, else the system's.

    Raises:
        RuntimeUnavailableError: If there is none.
    """
    own = Path(playwright.chromium.executable_path)
    if own.is_file():
        return own
    if found := next(filter(None, map(shutil.which, _NAMES)), None):
        return Path(found)
    raise RuntimeUnavailableError(
        "there is no Chromium here; install it with: playwright install chromium"
    )


def _sentence(error: Error) -> str:
    """Return the first line of an error of the page, without what Playwright puts before it."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    text = lines[0] if lines else str(error)
    for prefix in ("Page.evaluate: ", "BrowserType.launch: ", "Page.goto: "):
        text = text.removeprefix(prefix)
    return text.removeprefix("MotivNetError: ").removeprefix("Error: ")
