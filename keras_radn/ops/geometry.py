"""Sizes and padding of a 2D convolution, shared by all implementations."""

import numbers
from dataclasses import dataclass
from typing import Any

from keras import ops


@dataclass(frozen=True)
class ConvGeometry:
    """Kernel size, strides, padding and dilation rate of a 2D convolution.

    Attributes:
        kernel_size: `(height, width)`.
        strides: `(vertical, horizontal)`.
        padding: `"same"` or `"valid"`, with TensorFlow's meaning.
        dilation_rate: `(vertical, horizontal)`.
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    dilation_rate: tuple[int, int]

    def output_size(self, input_size: Any) -> list:
        """Output `[height, width]`; `None` where the input's is unknown.

        Raises:
            ValueError: if the dilated kernel is larger than the input and
                the padding is `"valid"`.
        """
        sizes = []
        for size, extent, stride in zip(
            input_size, self.extents(), self.strides, strict=True
        ):
            if size is None:
                sizes.append(None)
            elif self.padding == "same":
                sizes.append(-(-size // stride))
            elif size >= extent:
                sizes.append((size - extent) // stride + 1)
            else:
                raise ValueError(
                    f'With padding="valid" the input must be at least '
                    f"{tuple(self.extents())} pixels for this kernel. "
                    f"Received: height and width {tuple(input_size)}"
                )
        return sizes

    def leading_padding(self, input_size: Any) -> list:
        """Zeros before the first row and column, for sizes or tensors."""
        if self.padding == "valid":
            return [0, 0]
        pads = []
        for size, extent, stride in zip(
            input_size, self.extents(), self.strides, strict=True
        ):
            total = (size - 1) // stride * stride + extent - size
            smaller = max if isinstance(total, int) else ops.maximum
            pads.append(smaller(total, 0) // 2)
        return pads

    def extents(self) -> list[int]:
        """Rows and columns from the first tap to the last one."""
        return [
            (k - 1) * d + 1
            for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)
        ]


def standardize_pair(name: str, value: Any) -> tuple[int, int]:
    """A positive integer or a pair of them as a pair.

    Raises:
        ValueError: if `value` is neither.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2 or not all(
        isinstance(v, numbers.Integral) and v > 0 for v in pair
    ):
        raise ValueError(
            f"`{name}` must be a positive integer or a pair of them. "
            f"Received: {value!r}"
        )
    return int(pair[0]), int(pair[1])


def require_integer(name: str, value: Any, least: int) -> None:
    """Raises ValueError unless `value` is an integer of at least `least`."""
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. "
            f"Received: {value!r}"
        )
