import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_sigterm(handler: Callable) -> Iterator[None]:
    """Within it SIGTERM is handled so, and as before afterwards.

    By an exception, which the handler raises, files are cleaned up on the way
    out. Only the main thread of a process can say so; others change nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
