import os

import keras
from skimage.metrics import peak_signal_noise_ratio

from keras_radn.datasets import ImagePairs
from keras_radn.inference import deblur


def evaluate_pairs(
    root: str | os.PathLike, model: keras.Model | None = None
) -> list[dict]:
    """PSNR before and after, for each pair of `root/blur` and `root/sharp`.

    Protocol: RGB, whole images, output clipped and rounded to 8 bits,
    scikit-image's PSNR.

    Args:
        root: the folder that holds `blur` and `sharp`.
        model: see `keras_radn.deblur`.

    Returns:
        Per pair a dictionary with `name`, `blurred_psnr` and
        `deblurred_psnr` (dB).

    Raises:
        FileNotFoundError: if a folder or a partner is missing.
        ValueError: if a file is no image or the sizes of a pair differ.
    """
    pairs = ImagePairs(root)
    rows = []
    for i, path in enumerate(pairs.blurred):
        blurred, sharp = pairs.whole(i)
        rows.append(
            {
                "name": path.name,
                "blurred_psnr": peak_signal_noise_ratio(sharp, blurred),
                "deblurred_psnr": peak_signal_noise_ratio(
                    sharp, deblur(blurred, model)
                ),
            }
        )
    return rows
