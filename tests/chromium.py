"""A browser for the tests of web pages."""

import pytest
from playwright.sync_api import sync_playwright

from tests.programs import require

_FLAGS = (
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="package")
def browser():
    """Starts Debian's Chromium (`apt-get install chromium`)."""
    executable = require("chromium", "Pages are tested in Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=_FLAGS
        )
        yield browser
        browser.close()
