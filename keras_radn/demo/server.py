import contextlib
import logging
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import uvicorn

from keras_radn.demo.app import make_app
from keras_radn.demo.jobs import JobQueue
from keras_radn.demo.work import make_work
from keras_radn.system.sockets import authority, is_loopback, listen

# For answers that are being sent when the server is to end.
_GRACE_SECONDS = 5


@dataclass(frozen=True)
class DemoOptions:
    """How the page is served.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        max_bytes: of a file.
        max_pixels: of a picture.
        waiting: pictures that may wait while one is deblurred.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    max_bytes: int = 64_000_000
    max_pixels: int = 24_000_000
    waiting: int = 4


def serve(model: keras.Model, options: DemoOptions) -> None:
    """Serves the page until SIGTERM or SIGINT; prints where.

    Args:
        model: the network.
        options: how.

    Raises:
        OSError: if the port is taken or the address belongs to another
            computer.
    """
    local = is_loopback(options.host)
    hosts = ["localhost", "127.0.0.1", "[::1]", options.host] if local else None
    with (
        listen(options.host, options.port) as listener,
        tempfile.TemporaryDirectory(prefix="keras-radn-") as folder,
    ):
        jobs = JobQueue(make_work(model), Path(folder), options.waiting)
        app = make_app(jobs, options.max_bytes, options.max_pixels, hosts)
        server = _Server(
            uvicorn.Config(
                app,
                log_level="error",
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        port = listener.getsockname()[1]
        address = authority(options.host, port)
        jobs.start()
        try:
            print(f"Open http://{address} (Ctrl-C ends)", flush=True)
            server.run([listener])
        finally:
            jobs.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        """Ends the server at a signal, with the exit status 0."""
        numbers = signal.SIGTERM, signal.SIGINT
        before = [signal.signal(n, self.handle_exit) for n in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    async def shutdown(self, sockets=None):
        """Shuts down without a traceback for each request that is cut off."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
