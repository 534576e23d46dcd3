import contextlib
import functools
import http.server
import threading
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.chromium import browser  # noqa: F401, a fixture
from tests.programs import require

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def site(tmp_path_factory):
    """The folder of the docs, built without the API reference."""
    require("npm", "The page gets its runtime from npm")
    folder = tmp_path_factory.mktemp("site")
    config = load_config(
        str(ROOT / "mkdocs.yml"), site_dir=str(folder), plugins=[]
    )
    build(config)
    return folder


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and records the requests."""

    def __init__(self, *arguments, asked, isolated, **options):
        self._asked, self._isolated = asked, isolated
        super().__init__(*arguments, **options)

    def end_headers(self):
        if self._isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_request(self, *_):
        self._asked.append(self.requestline)

    def log_message(self, *_):
        """Keeps the terminal quiet."""


@contextlib.contextmanager
def serving(folder, isolated):
    """Yields the address of a file server, and the list of its requests."""
    asked = []
    handler = functools.partial(
        _Handler, directory=folder, asked=asked, isolated=isolated
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
