import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


def say(text: str) -> None:
    """Prints a line about the work on stderr."""
    print(printable(f"keras-radn: {text}"), file=sys.stderr, flush=True)


def printable(text: object) -> str:
    """In one line, whatever is in the name of a file."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in str(text)
    )


@contextlib.contextmanager
def unfailing_output() -> Iterator[None]:
    """Printing ends no work: not by a name that the terminal's encoding lacks,
    nor by a reader, such as `head`, that is gone.
    """
    if hasattr(sys.stdout, "reconfigure"):  # stderr escapes anyway
        sys.stdout.reconfigure(errors="backslashreplace")
    # There are none if they were closed (`>&-`).
    out, err = (s and _UntilClosed(s) for s in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            if out is not None:
                out.flush()  # at exit, Python would complain


class _UntilClosed:
    """A stream that goes nowhere from when nobody reads it any more."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        return self._unless_closed(self._stream.write, text)

    def flush(self):
        self._unless_closed(self._stream.flush)

    def _unless_closed(self, act, *arguments):
        try:
            return act(*arguments)
        except BrokenPipeError:
            # For the stream's buffer and for other writers, too.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            return act(*arguments)
