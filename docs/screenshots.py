"""Take the screenshots of the dashboard in this folder, of `gimel serve --demo`: `make screenshots`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.reading import address
from tests.pages import QUIET
from tests.parts import GimelServer, chromium_path

FOLDER = Path(__file__).parent
SCREENSHOTS = {
    "dashboard-light.png": ("light", "price display"),
    "dashboard-dark.png": ("dark", "checkout: one page or three"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = GimelServer("--demo", home=Path(home))
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        try:
            for name, (scheme, experiment) in SCREENSHOTS.items():
                page = browser.new_page(viewport={"width": 1360, "height": 860}, color_scheme=scheme)
                page.goto(address(server, experiment=experiment))
                page.locator("#experiment h2").wait_for()
                page.screenshot(path=FOLDER / name)
                print(f"docs/{name}: {(FOLDER / name).stat().st_size / 1000:.0f} KB")
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
