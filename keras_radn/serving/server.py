import asyncio
import contextlib
import dataclasses
import functools
import logging
import signal
import sys
import threading
from collections.abc import Callable

import uvicorn
from grpc_health.v1 import health_pb2
from PIL import Image
from tensorflow_serving.apis import get_model_status_pb2

from keras_radn.serving.admission import MAX_RETRY_AFTER, Admission
from keras_radn.serving.connections import Connection
from keras_radn.serving.errors import ServingError
from keras_radn.serving.metrics import Metrics
from keras_radn.serving.model_config import ModelServerConfig
from keras_radn.serving.model_manager import ModelManager
from keras_radn.serving.request_handler import RequestHandler
from keras_radn.serving.rest import make_app
from keras_radn.serving.rpc import make_grpc_server
from keras_radn.system.sockets import authority, is_loopback, listen

_logger = logging.getLogger("keras_radn.serving")
_State = get_model_status_pb2.ModelVersionStatus.State
# What is left for health checks and refusals when all places are taken.
_MAX_CONNECTIONS = 512
# Longer than any Retry-After: a client that retries on time must not meet a
# connection that is being closed.
_KEEP_ALIVE_SECONDS = MAX_RETRY_AFTER + 15
_WATCH_SECONDS = 1


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How a server is run.

    Args:
        host: address to listen on.
        rest_port: port of the REST API; 0 takes a free one.
        grpc_port: port of the gRPC API; 0 takes a free one.
        workers: requests that are computed at a time.
        queue_length: requests that may wait; more are turned away.
        timeout: seconds that a request may take.
        max_body: bytes of the largest request.
        max_pixels: pixels of all images of a request together.
        poll_seconds: time between two looks for new versions.
        drain_seconds: how long requests may take after a signal to stop.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    workers: int = 1
    queue_length: int = 16
    timeout: float = 30
    max_body: int = 32_000_000
    max_pixels: int = 6_000_000
    poll_seconds: float = 1
    drain_seconds: float = 30


def serve(
    config: ModelServerConfig,
    options: ServerOptions,
    read_config: Callable[[], ModelServerConfig] | None = None,
) -> None:
    """Serves models until SIGTERM or SIGINT; prints where.

    At the signal the server accepts no more and answers what it has accepted.
    A second signal ends it at once.

    Args:
        config: the models.
        options: how.
        read_config: see `ModelManager`.

    Raises:
        ValueError: a model has no version that can be loaded.
        OSError: a port is taken.
    """
    with _logging_to_stderr(), _unlimited_pixels():
        manager = ModelManager(config, read_config)
        try:
            for name, reason in manager.unavailable().items():
                raise ValueError(f"{name}: {reason}")
            asyncio.run(_Server(manager, options).run())
        finally:
            manager.close()


@contextlib.contextmanager
def _unlimited_pixels():
    """Switches Pillow's own limit off: pixels are counted here."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


class _Server:
    def __init__(self, manager, options):
        self._manager = manager
        self._options = options
        self._stopping = threading.Event()

    async def run(self):
        options = self._options
        self._admission = Admission(options.workers, options.queue_length)
        admission = self._admission
        metrics = Metrics(lambda: admission.taken, self._states)
        handler = RequestHandler(
            self._manager,
            admission,
            metrics,
            options.timeout,
            options.max_body,
            options.max_pixels,
        )
        with listen(
            options.host, options.rest_port, _MAX_CONNECTIONS
        ) as listener:
            rest = _rest_server(make_app(handler, self._missing), options)
            rpc, health = make_grpc_server(
                handler, allow_reload=is_loopback(options.host)
            )
            port = _add_port(rpc, options.host, options.grpc_port)
            await rpc.start()
            await health.set("", health_pb2.HealthCheckResponse.SERVING)
            stop = asyncio.Event()
            self._on_signals(stop)
            polling = threading.Thread(target=self._poll, name="poll")
            polling.start()
            watching = asyncio.create_task(_watch(admission, health))
            serving = asyncio.create_task(rest.serve([listener]))
            stopped = asyncio.create_task(stop.wait())
            try:
                rest_port = listener.getsockname()[1]
                print(f"REST: http://{authority(options.host, rest_port)}")
                print(f"gRPC: {authority(options.host, port)}", flush=True)
                await asyncio.wait(
                    {serving, stopped}, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                self._stopping.set()
                watching.cancel()
                rest.should_exit = True
                await health.enter_graceful_shutdown()
                await asyncio.gather(serving, rpc.stop(options.drain_seconds))
                stopped.cancel()
                admission.close()
                polling.join()
        _logger.info("Stopped")

    def _on_signals(self, stop):
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)

        def handle():
            _logger.info("Stopping")
            stop.set()
            for number in numbers:  # the next one acts as usual
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, handle)

    def _poll(self):
        while not self._stopping.wait(self._options.poll_seconds):
            try:
                self._manager.poll()
            except Exception:  # the next poll may go better
                _logger.exception("Polling failed")

    def _missing(self):
        if self._stopping.is_set():
            return {"server": "is stopping"}
        missing = self._manager.unavailable()
        if self._admission.overdue():
            missing["server"] = "no worker answers"
        return missing

    def _states(self):
        for name in self._manager.names():
            with contextlib.suppress(ServingError):  # without a version
                status = self._manager.status(name)
                for version in status.model_version_status:
                    yield name, version.version, _State.Name(version.state)


def _rest_server(app, options):
    return _Uvicorn(
        uvicorn.Config(
            app,
            http=functools.partial(
                Connection, header_timeout=max(1, options.timeout)
            ),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=options.drain_seconds,
        )
    )


async def _watch(admission, health):
    """Tells gRPC's clients whether there is a worker that answers."""
    states = health_pb2.HealthCheckResponse
    while True:
        lost = admission.overdue()
        await health.set("", states.NOT_SERVING if lost else states.SERVING)
        await asyncio.sleep(_WATCH_SECONDS)


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        """Ends both servers at a signal, with the exit status 0."""
        yield


def _add_port(server, host, port):
    try:
        return server.add_insecure_port(authority(host, port))
    except RuntimeError as error:
        raise OSError(
            f"{host}:{port}: the gRPC port cannot be opened; is it in use?"
        ) from error


@contextlib.contextmanager
def _logging_to_stderr():
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    levels = {"keras_radn.serving": logging.INFO, "uvicorn": logging.ERROR}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for name in levels:
            logging.getLogger(name).removeHandler(handler)
