"""Types of options that are numbers between bounds.

A number out of its bounds is a wrong command line, as a word that is not a
number.
"""

import argparse
import math
from collections.abc import Callable


def integer(least: int, most: float = math.inf) -> Callable[[str], int]:
    """The type of an option that is a whole number between bounds."""
    return _between(int, least, most)


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """The type of an option that is a number between bounds."""
    return _between(float, least, most)


def tile_side(text: str) -> int | str | None:
    """The type of `--tile`: a number of pixels, `auto` or `off` (`None`)."""
    words = {"auto": "auto", "off": None}
    return words[text] if text in words else integer(1)(text)


def image_size(text: str) -> tuple[int, int]:
    """The type of `--size`: width and height of `WIDTHxHEIGHT`."""
    width, height = map(integer(1), text.split("x"))
    return width, height


# In the messages of argparse.
tile_side.__name__ = "number"
image_size.__name__ = "size"


def _between(kind, least, most):
    def parse(text):
        value = kind(text)
        if not least <= value <= most:  # nor NaN
            bounds = f"from {least} to {most}"
            if most == math.inf:
                bounds = f"at least {least}"
            raise argparse.ArgumentTypeError(
                f"has to be {bounds}. Received: {text}"
            )
        return value

    parse.__name__ = "number"  # in the messages of argparse
    return parse
