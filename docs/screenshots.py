"""Take the pictures of the dashboard in this folder, and export it as demo.html, both of `gimel serve --demo`.

`python -m docs.screenshots page` only puts the dashboard as it is now around the figures that demo.html has.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from gimel import page
from tests.browser.reading import address
from tests.pages import QUIET
from tests.parts import GimelServer, chromium_path

FOLDER = Path(__file__).parent
DEMO = FOLDER / "demo.html"
FIGURES = re.compile(r'<script type="application/json" id="snapshot">(.*)</script>')
CHECKOUT = "checkout: one page or three"


class Picture(NamedTuple):
    """Of which experiment, how wide and high the window is, and whether the page is scrolled to its end."""

    experiment: str
    width: int
    height: int
    scheme: str = "light"
    is_end: bool = False


PICTURES = {
    "dashboard-light.png": Picture(CHECKOUT, 1440, 1080),
    "dashboard-dark.png": Picture("price display", 1440, 1080, "dark"),
    "dashboard-1024.png": Picture("new landing page", 1024, 900, is_end=True),
    "dashboard-390.png": Picture("product photos", 390, 844),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = GimelServer("--demo", home=Path(home))
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)

        def opened(experiment: str, **options: object) -> Page:
            page = browser.new_page(timezone_id="UTC", locale="en-GB", **options)
            page.goto(address(server, experiment=experiment))
            page.locator("#experiment h2").wait_for()
            page.wait_for_load_state("networkidle")
            return page

        try:
            for name, (experiment, width, height, scheme, is_end) in PICTURES.items():
                page = opened(experiment, viewport={"width": width, "height": height}, color_scheme=scheme)
                if is_end:
                    page.evaluate("scrollTo(0, document.body.scrollHeight)")
                _keep(page.screenshot(), FOLDER / name)
            page = opened(CHECKOUT)
            page.get_by_text("Export", exact=True).click()
            with page.expect_download() as download:
                page.get_by_role("button", name="HTML").click()
            download.value.save_as(DEMO)
            _tell(DEMO)
        finally:
            browser.close()
            server.stop()


def in_present_page(export: str) -> str:
    """An exported page with the same figures, as it would be exported now."""
    figures = json.loads(FIGURES.search(export)[1])
    return page.snapshot(**{**figures, "read_at": datetime.fromisoformat(figures["read_at"])})


def _keep(picture: bytes, path: Path) -> None:
    """Write a picture with 256 colours: a third of its size, and no difference that one could see."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(dither=Image.Dither.NONE).save(path, optimize=True)
    _tell(path)


def _tell(path: Path) -> None:
    print(f"docs/{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        DEMO.write_text(in_present_page(DEMO.read_text("utf-8")), "utf-8")
    else:
        main()
