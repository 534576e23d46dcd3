"""Classical deconvolution, to compare with."""

from collections.abc import Callable

import numpy as np
from skimage.restoration import richardson_lucy, wiener

from keras_radn.pictures.pixels import in_depth

# Motion is not known to these methods, so they get an isotropic Gaussian.
# Standard deviations of 1, 1.5 and 2 pixels and several settings were tried;
# these are best on real pairs (REDS) from which no published figure comes.
_SIGMA = 1.0
_SIDE = 7
_BALANCE = 0.1
_ITERATIONS = 3
# Both methods see the picture as periodic, or dark outside.
_MARGIN = 16


def _gaussian():
    x = np.arange(_SIDE) - _SIDE // 2
    line = np.exp(-(x**2) / (2 * _SIGMA**2))
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def _per_channel(deconvolve):
    """A function of an 8-bit RGB image, as evaluation's protocol has it."""

    def restore(image: np.ndarray) -> np.ndarray:
        padding = [(_MARGIN, _MARGIN)] * 2 + [(0, 0)]
        padded = np.pad(image / 255, padding, mode="symmetric")
        channels = [deconvolve(x) for x in np.moveaxis(padded, -1, 0)]
        values = np.clip(np.stack(channels, axis=-1), 0, 1)
        values = values[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        return in_depth(values, "uint8")

    return restore


# By scikit-image; each takes and returns uint8 `(height, width, 3)`.
CLASSICAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Wiener": _per_channel(
        lambda x: wiener(x, _gaussian(), _BALANCE, clip=False)
    ),
    "Richardson-Lucy": _per_channel(
        lambda x: richardson_lucy(
            x, _gaussian(), _ITERATIONS, filter_epsilon=1e-3
        )
    ),
}
