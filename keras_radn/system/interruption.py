"""Signals that end the work."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_INTERRUPTED = 130


@contextlib.contextmanager
def on_sigterm(handler: Callable) -> Iterator[None]:
    """Handles SIGTERM within the block, and as before afterwards.

    If the handler raises an exception, files are cleaned up on the way out.
    Only the main thread of a process can do so; others change nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def leaving_on_interrupt(sentence: str) -> Iterator[None]:
    """Lets Ctrl-C end the process within the block, with a sentence on stderr.

    For imports: modules in C++ make other errors of a `KeyboardInterrupt`.
    Where interrupts are ignored, as behind `nohup`, they stay so.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    # The stderr of now; while TensorFlow is imported, it goes elsewhere.
    stderr = None if sys.stderr is None else os.dup(2)

    def leave(number, frame):
        if stderr is not None:
            with contextlib.suppress(OSError):
                os.write(stderr, f"{sentence}\n".encode())
        os._exit(_INTERRUPTED)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if stderr is not None:
            os.close(stderr)
