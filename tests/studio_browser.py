"""The studio's page in a real browser: the system's chromium, driven by playwright."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
PATIENCE_S = 150
LAPTOP, PHONE = (1366, 768), (390, 844)
SLIM = (790, 560)
"""Two panels and next to no 3D: what a machine without a GPU draws quickly."""


NO_WARNING = """addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = "#webgl-software-rendering { display: none !important }";
  document.head.append(style);
})"""
"""Without the note that this machine has no GPU, which lies over the page."""
CALM = """addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = "* { animation: none !important; transition: none !important }";
  document.head.append(style);
});
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 4000);
window.cancelAnimationFrame = clearTimeout;"""
"""A picture of the 3D view every four seconds: without a GPU it costs a quarter of a second."""


def chromium() -> str | None:
    """Where the system's chromium is; None where there is none."""
    return next((p for n in ("chromium", "chromium-browser") if (p := shutil.which(n))), None)


def missing() -> str | None:
    """Why the page cannot be driven here; None when it can."""
    try:
        import playwright.sync_api  # noqa: F401
        import viser  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed (pip install 'recam[browser]')"
    return None if chromium() else "there is no chromium (apt-get install chromium)"


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; ``Tab(browser, url)`` opens a page in it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield found
        finally:
            found.close()


class Tab:
    """A tab on the studio."""

    def __init__(
        self,
        browser: Any,
        url: str,
        size: tuple[int, int] = SLIM,
        calm: bool = False,
        **options: Any,
    ):
        """calm: draw seldom, for tests; figures of speed are taken without it."""
        width, height = size
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        self.context.set_default_timeout(1000 * PATIENCE_S)
        self.context.add_init_script(NO_WARNING)
        if calm:
            self.context.add_init_script(CALM)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.get_by_text("recam studio").first.wait_for()

    def open(self, name: str) -> None:
        """Show a panel's tab."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def press(self, name: str) -> None:
        """Click a button."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def row(self, label: str) -> Any:
        """The row of a labelled control."""
        text = self.page.locator(f"xpath=//label[normalize-space(.)='{label}']").locator(
            "visible=true"
        )
        return text.locator("xpath=ancestor::div[.//input][1]")

    def number(self, label: str) -> float:
        """The value of a number or a slider."""
        return float(self.row(label).locator("input[type=text]").last.input_value())

    def set_number(self, label: str, value: float) -> None:
        """Type a value into a number or beside a slider."""
        box = self.row(label).locator("input[type=text]").last
        box.fill(f"{value:g}")
        box.press("Enter")

    def choose(self, label: str, option: str) -> None:
        """Choose from a dropdown."""
        self.row(label).locator("input").first.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def chosen(self, label: str) -> str:
        """What a dropdown says."""
        return str(self.row(label).locator("input").first.input_value())

    def tick(self, label: str) -> None:
        """Click a checkbox."""
        self.row(label).locator("input[type=checkbox]").click()

    def upload(self, path: Path, which: int = 0) -> None:
        """Give a file to an upload button of the tab that is open."""
        self.page.locator("input[type=file]").nth(which).set_input_files(str(path))

    def says(self, text: str) -> Any:
        """Wait until a text is on the page."""
        found = self.page.get_by_text(text).locator("visible=true").first
        found.wait_for()
        return found

    def waits(self, true: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        """Wait until something is true."""
        end = time.time() + seconds
        while not true():
            assert time.time() < end, "waited too long"
            self.page.wait_for_timeout(100)

    def picture(self) -> str:
        """The address of the new camera's picture: another one for each picture."""
        return str(self.page.locator("img").first.get_attribute("src"))

    def shot(self, path: Path) -> None:
        """A screenshot."""
        self.page.screenshot(path=str(path))

    def close(self) -> None:
        """Close the tab."""
        self.context.close()
