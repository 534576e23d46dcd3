"""The answers of a network at several scales of an image, as one."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL.Image import Resampling

_OWN = 1.0

# Factors of the sides of the image. A network is best at the lengths of blur
# that it has seen most of, and most blurs have one at some of these scales.
SCALES = (0.5**0.5, _OWN, 2**0.5, 2.0)

# How many times the pixels of the image the network sees at once.
MOST_PIXELS = max(SCALES) ** 2

# A sharp image that is enlarged looks blurred. What is really blurred is
# corrected at its own scale, too, if less.
_MOST = 2.0

# Pixels of a side of the windows in which scales are compared: more than a
# blur is long, so that a window has edges, and less than what moves.
_WINDOW = 128

# Below the rounding to 8 bits (its variance is 1/12), in squares of white.
_NOTHING = (0.03 / 255) ** 2


def multi_scale_ensemble(
    network: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Weighted mean of what a network corrects at several scales of an image.

    The image is resized by each of `SCALES`, and what the network changes is
    resized back. The error that is left by an estimate of least squares is
    orthogonal to it. So the mean square of a correction is what it takes from
    the squared error, and tells without a sharp image which scale suits; its
    square is the weight, in windows of about 128 pixels. A scale counts less if
    it would correct more than twice as much, in mean squares, as the image's
    own.

    Not in the paper, whose self-ensemble (Final+) is
    `keras_radn.inference.network.self_ensemble`; both can be joined.

    Args:
        network: a function of an image of any size, as `as_function` gives it.
        image: float32 `(height, width, 3)` in [0, 1].

    Returns:
        float32 array of the same shape; not clipped.
    """
    corrections = [correction(network, image, scale) for scale in SCALES]
    return image + weighted_mean(corrections)


def weighted_mean(corrections: list[np.ndarray]) -> np.ndarray:
    """What is to be corrected; see `multi_scale_ensemble`.

    Args:
        corrections: at each of `SCALES`, float32 `(height, width, 3)`.

    Returns:
        float32 array of the same shape.
    """
    height, width = corrections[0].shape[:2]
    grid = [max(1, round(side / _WINDOW)) for side in (width, height)]
    energies = np.stack(
        [
            _resized(np.square(c).mean(-1, keepdims=True), grid, Resampling.BOX)
            for c in corrections
        ]
    )
    own = energies[SCALES.index(_OWN)]
    share = np.minimum(1, _MOST * own / (energies + _NOTHING))
    weights = np.square(share * energies + _NOTHING)
    factors = weights / weights.sum(axis=0) * share
    return sum(
        change * _resized(factor, (width, height), Resampling.BILINEAR)
        for change, factor in zip(corrections, factors, strict=True)
    )


def correction(
    network: Callable[[np.ndarray], np.ndarray], image: np.ndarray, scale: float
) -> np.ndarray:
    """What a network changes in an image that it sees at another scale.

    Args:
        network: a function of an image of any size.
        image: float32 `(height, width, 3)` in [0, 1].
        scale: of its sides.

    Returns:
        float32 array of the image's shape.
    """
    if scale == _OWN:
        return network(image) - image
    height, width = image.shape[:2]
    size = [max(1, round(scale * side)) for side in (width, height)]
    # Lanczos keeps most of the detail, and overshoots at edges.
    seen = np.clip(_resized(image, size, Resampling.LANCZOS), 0, 1)
    return _resized(network(seen) - seen, (width, height), Resampling.LANCZOS)


def _resized(array, size, resample):
    """Resizes an array `(height, width, channels)` of floats."""
    # Channel by channel: Pillow has no floating-point colors.
    channels = (
        Image.fromarray(np.ascontiguousarray(array[..., i])).resize(
            size, resample
        )
        for i in range(array.shape[-1])
    )
    return np.stack(list(channels), axis=-1)
