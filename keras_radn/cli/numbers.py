"""Options that are numbers between bounds, which servers have many of."""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Number(NamedTuple):
    """An option `--name N`, with its type, default, bounds and help.

    With the default `None`, which has no bounds, the help says what it means.
    """

    name: str
    kind: type
    default: float | None
    least: float
    most: float
    text: str


def add_numbers(
    parser: argparse.ArgumentParser, numbers: Sequence[Number]
) -> None:
    """Adds an option for each number."""
    for number in numbers:
        parser.add_argument(
            f"--{number.name}",
            type=number.kind,
            default=number.default,
            metavar="N",
            help=number.text
            + (" (default: %(default)s)" if number.default is not None else ""),
        )


def check_numbers(
    options: argparse.Namespace, numbers: Sequence[Number]
) -> None:
    """Raises a ValueError that names the first number out of its bounds."""
    for number in numbers:
        value = getattr(options, number.name.replace("-", "_"))
        if value is not None and not number.least <= value <= number.most:
            raise ValueError(
                f"--{number.name} has to be from {number.least} to "
                f"{number.most}. Received: {value}."
            )


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number between bounds."""

    def parse(text):
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ValueError
        return number

    parse.__name__ = "number"  # in the error message
    return parse


def tile_side(text: str) -> int | str | None:
    """The type of `--tile`: a number of pixels, `auto` or `off` (`None`)."""
    words = {"auto": "auto", "off": None}
    return words[text] if text in words else integer(1)(text)
