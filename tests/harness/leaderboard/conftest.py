"""Results folders as for the report's tests, boards with made-up figures, and one browser for all tests of the page."""

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "report")]  # tests are no package


@pytest.fixture(scope="session")
def local_sites(tmp_path_factory):
    """Sites of any name by HTTPS on the loopback device, see local_sites.py; a dictionary from addresses to HTML."""
    from local_sites import serving

    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate for the local sites")
    with serving(tmp_path_factory.mktemp("certificate")) as sites:
        yield sites


@pytest.fixture(scope="session")
def browser(local_sites):
    """Chromium without a window; every name leads to `local_sites`."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in programs.values():
        pytest.skip(f"no {' and '.join(name for name, path in programs.items() if path is None)} here")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which a container's root user cannot have
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--ignore-certificate-errors",
        f"--host-resolver-rules=MAP * 127.0.0.1:{local_sites.port}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    yield driver
    driver.quit()
