"""A server whose answers are given by a test."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stub_server(
    answer: Callable[[str], tuple[int, bytes, int]],
) -> Iterator[str]:
    """Serves POST requests while the context is open.

    Args:
        answer: maps a path to the status, the body, and how many bytes more
            than it has are announced.

    Yields:
        The server's address.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body, missing = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", len(body) + missing)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
