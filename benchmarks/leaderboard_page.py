"""How large the leaderboard's page is with a hundred codecs, and how soon a browser shows it from disk.

    python benchmarks/leaderboard_page.py [--codecs 100] [--loads 5]

The board is made up (tests/harness/leaderboard/synthetic_board.py), with curves of eight points on every scenario.
Times are the browser's own, medians over loads; Chromium and its driver must be installed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "harness" / "leaderboard"))

from synthetic_board import board

from harness.leaderboard.compile import EDITIONS
from harness.leaderboard.write import write_board

TIMES = """
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return [paint ? paint.startTime : null, performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd];
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--codecs", type=int, default=100)
    parser.add_argument("--loads", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for editions in (EDITIONS[:2], EDITIONS):
            page, *_ = write_board(board(args.codecs, editions), Path(temporary))
            kilobytes = page.stat().st_size / 1000
            paint, ready = _milliseconds(page.as_uri(), args.loads)
            print(
                f"{args.codecs} codecs on {', '.join(editions)}: {kilobytes:.0f} kB, "
                f"first paint {paint:.0f} ms, table {ready:.0f} ms"
            )


def _milliseconds(address: str, loads: int) -> tuple[float, float]:
    """Medians of first paint and of the whole table, from the beginning of the load."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        seen = []
        for _ in range(loads):
            driver.get("about:blank")
            driver.get(address)
            while (times := driver.execute_script(TIMES))[0] is None:
                time.sleep(0.05)
            seen.append(times)
    finally:
        driver.quit()
    paint, ready = (statistics.median(column) for column in zip(*seen, strict=True))
    return paint, ready


if __name__ == "__main__":
    main()
