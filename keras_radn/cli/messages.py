import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import TextIO

# What errors of the library name, and the option for it.
_OPTIONS = {
    "force=True": "--force",
    "warmup=False": "--no-warmup",
    "`max_pixels`": "--max-megapixels",
    "`PIL.Image.MAX_IMAGE_PIXELS`, half of the limit": "--max-megapixels",
}


class CommandLineError(Exception):
    """Options that do not go together; a sentence that says which."""


def say(text: str) -> None:
    """Prints a line about the work on stderr."""
    print(printable(f"keras-radn: {text}"), file=sys.stderr, flush=True)


def in_options(text: object, options: argparse.Namespace) -> str:
    """An error of the library, with the command's options for arguments.

    Args:
        text: of the error, in which arguments stand in backquotes.
        options: of the command; what is not one of them stays as it is.
    """
    text = str(text)
    known = set(re.findall(r"--[a-z][a-z-]*", options.usage()))
    for argument, option in _OPTIONS.items():
        if option in known:
            text = text.replace(argument, option)

    def option_for(match):
        option = f"--{match[1].replace('_', '-')}"
        return option if option in known else match[0]

    return re.sub(r"`(\w+)`", option_for, text)


def printable(text: object) -> str:
    """The text in one line, with what cannot be printed escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in str(text)
    )


@contextlib.contextmanager
def unfailing_output() -> Iterator[None]:
    """Lets the work go on within the block where printing fails.

    Characters that the terminal's encoding lacks are escaped, and what a
    reader such as `head` no longer reads is dropped.
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
    """A stream whose output is dropped once its reader is gone."""

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
