"""Arrays of pixels: what is an image, and which value is white."""

import numpy as np


def white(dtype: np.typing.DTypeLike) -> int:
    """The value of white in an image of a dtype.

    Returns:
        255 for uint8, 65535 for uint16, 1 for floating point.

    Raises:
        ValueError: for any other dtype.
    """
    dtype = np.dtype(dtype)
    if dtype.name in ("uint8", "uint16"):
        return int(np.iinfo(dtype).max)
    if np.issubdtype(dtype, np.floating):
        return 1
    raise ValueError(
        "An image array must be uint8, uint16 or floating point. "
        f"Received: dtype {dtype}"
    )


def in_depth(array: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """An image in 8 or 16 bits per channel, rounded.

    Args:
        array: uint8, uint16 or floating point in [0, 1].
        dtype: `"uint8"` or `"uint16"`.
    """
    if array.dtype == dtype:
        return array
    scale = np.float32(white(dtype) / white(array.dtype))
    return np.rint(array * scale).astype(dtype)


def check_image(array: np.ndarray) -> None:
    """Refuses what is not an image as `keras_radn.deblur` takes it.

    Args:
        array: to be `(height, width[, channels])` of 1 to 4 channels; uint8,
            uint16, or floating point in [0, 1].

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(
            "The image must be a NumPy array here, such as "
            "np.asarray(PIL.Image.open(path)). Received: "
            f"{type(array).__name__}"
        )
    if (
        array.ndim not in (2, 3)
        or (array.ndim == 3 and not 1 <= array.shape[2] <= 4)
        or array.size == 0
    ):
        raise ValueError(
            "An image array must have the shape (height, width, 3) in RGB or "
            "(height, width) in gray, or (height, width, 4 or 2) with alpha. "
            f"Received: shape {array.shape}"
        )
    if white(array.dtype) != 1:
        return
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        raise ValueError(
            "The image contains NaN or infinite pixels; replace them first."
        )
    if low < 0 or high > 1:
        raise ValueError(
            "A floating-point image must be in [0, 1]. Received: values from "
            f"{low:g} to {high:g}"
        )
