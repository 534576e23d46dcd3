"""What the builder of a graph says of the operations in it.

Layers and networks do not pass it on: it holds for all that is called within.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Options:
    """How operations are built; `None` leaves it to each of them.

    Attributes:
        implementation: of all deformable convolutions, `"native"` or
            `"gather"`, whatever else is set.
        convolution: computes all deformable convolutions, for formats that
            have the operation themselves; a function with the arguments of
            `gather.deformable_conv2d`, which were checked, and its result.
        loops: whether large images may be done a chunk at a time. Converters
            cannot take loops of unknown size; without them the memory of
            attention and of wide deformable convolutions grows.
        training_ops: whether layers in training may be single operations of
            the compiled library, where there are such.
    """

    implementation: str | None = None
    convolution: Callable[..., Any] | None = None
    loops: bool | None = None
    training_ops: bool | None = None


_UNSAID = Options()
_current = contextvars.ContextVar("keras_radn_tracing", default=_UNSAID)


def current() -> Options:
    """The options that hold here."""
    return _current.get()


@contextlib.contextmanager
def options(**changes: Any) -> Iterator[None]:
    """Sets options within the block; the others stay as they are.

    Args:
        **changes: attributes of `Options`.
    """
    token = _current.set(dataclasses.replace(_current.get(), **changes))
    try:
        yield
    finally:
        _current.reset(token)
