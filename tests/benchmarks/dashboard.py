"""How long the dashboard takes to draw 300 experiments, from the last byte of the answer.

`python -m tests.benchmarks.dashboard`. Chromium draws them in a window of 1400 x 900, each experiment with three
variants and three goals.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.reading import visitors
from tests.pages import QUIET
from tests.parts import GimelServer, chromium_path, wait_for

EXPERIMENTS = 300
TIMES = 7
ARMS = {
    label: (40, dict.fromkeys(("signed up", "order placed", "came back"), 3 + place))
    for place, label in enumerate(("blue", "green", "red"))
}

WATCH = """
new MutationObserver((_, observer) => {
  if (document.querySelectorAll("#list tbody tr:not(.group)").length < COUNT) return;
  observer.disconnect();
  // After the frame in which they are painted.
  requestAnimationFrame(() => setTimeout(() => {
    const asked = performance.getEntriesByType("resource").findLast(each => each.name.includes("/experiments?"));
    window.drawn = performance.now() - asked.responseEnd;
  }));
}).observe(document, {childList: true, subtree: true});
""".replace("COUNT", str(EXPERIMENTS))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = GimelServer(home=Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        try:
            for number in range(EXPERIMENTS):
                visitors(server, f"experiment {number}", ARMS)
            took = [drawn(browser, server.url) for _ in range(TIMES)]
            size = len(browser.new_page().request.get(f"{server.url}/experiments").body())
        finally:
            browser.close()
            server.stop()
    print(f"{EXPERIMENTS} experiments ({size / 1e6:.1f} MB of JSON), drawn after the answer, {TIMES} times:")
    print(f"median {statistics.median(took):.0f} ms, slowest {max(took):.0f} ms")


def drawn(browser: Browser, url: str) -> float:
    """Milliseconds from the answer's last byte to the frame with all experiments."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.add_init_script(WATCH)
    page.goto(url)
    took = wait_for(lambda: page.evaluate("window.drawn"), "300 experiments drawn")
    page.close()
    return took


if __name__ == "__main__":
    main()
