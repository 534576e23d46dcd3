import os
import time
from collections.abc import Callable
from statistics import fmean

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_radn.datasets import ImagePairs
from keras_radn.inference import Deblurrer
from keras_radn.inference.deblurrer import Network

# Side of the Gaussian window of SSIM: 3.5 sigmas to each side.
SSIM_WINDOW = 11


def scores(sharp: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM of an image, by scikit-image.

    SSIM is that of Wang et al. (2004): a Gaussian window of 11x11 (sigma 1.5),
    population covariance; the mean of the three channels.

    Args:
        sharp: what the image should be, uint8 `(height, width, 3)`.
        image: uint8, of the same shape.

    Returns:
        `psnr` in dB, at most 100 (equal images), and `ssim`.

    Example:

    ```python
    from keras_radn import training

    values = training.scores(sharp_bytes, blurred_bytes)  # uint8 arrays
    print(f"{values['psnr']:.2f} dB")
    ```
    """
    similarity = structural_similarity(
        sharp,
        image,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    # The PSNR of equal images is infinite, which would be the mean of all
    # images, too, and is not JSON.
    with np.errstate(divide="ignore"):
        psnr = min(peak_signal_noise_ratio(sharp, image), 100)
    return {"psnr": float(psnr), "ssim": float(similarity)}


def evaluate_pairs(
    root: str | os.PathLike,
    model: Deblurrer | Network | None = None,
    blur: str | None = None,
    restore: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[dict]:
    """PSNR and SSIM before and after, for each pair of a folder.

    Protocol: RGB, whole images (also those that `keras_radn.deblur` would cut
    into tiles), no crop, output clipped and rounded to 8 bits;
    scikit-image's PSNR, and its SSIM with a Gaussian window (sigma 1.5, the
    mean of the three channels). The network is in the form and dtype in which
    `keras_radn.deblur` runs it. Seconds are those from array to array, after a
    call with an image of the same size.

    Args:
        root: a folder with blurred and sharp images; see `find_pairs`.
        model: see `keras_radn.deblur`. A `Deblurrer` keeps its tiles; a
            network on its own sees whole images, as the protocol says
            (`tile=None`).
        blur: name of the folders of blurred images; see `find_pairs`.
        restore: what is measured in place of a model: a function of uint8
            `(height, width, 3)`, for example one of `CLASSICAL`.

    Returns:
        Per pair a dictionary with `name`, `blurred_psnr`, `deblurred_psnr`
        (dB), `blurred_ssim`, `deblurred_ssim` and `seconds`.

    Raises:
        FileNotFoundError: if there are no pairs or a partner is missing.
        ValueError: if a file is not an image, the sizes of a pair differ, a
            side has less than 11 pixels, or as `keras_radn.deblur`.

    Example:

    ```python
    from keras_radn import training

    rows = training.evaluate_pairs("GOPRO_Large/test")
    print(training.mean_row(rows)["deblurred_psnr"])
    ```
    """
    pairs = ImagePairs(root, blur)
    warm_up = restore
    if restore is None:
        restore = model
        if not isinstance(model, Deblurrer):
            restore = Deblurrer(model, tile=None)
        warm_up = restore.without_ensembles()
    warm = set()
    rows = []
    for i in range(len(pairs)):
        blurred, sharp = pairs.whole(i)
        if min(sharp.shape[:2]) < SSIM_WINDOW:
            raise ValueError(
                f"{pairs.sharp[i]} is too small for SSIM, whose window is "
                f"{SSIM_WINDOW}x{SSIM_WINDOW}. Received: "
                f"{sharp.shape[1]}x{sharp.shape[0]} pixels"
            )
        if blurred.shape not in warm:
            warm_up(blurred)
            warm.add(blurred.shape)
        start = time.perf_counter()
        deblurred = restore(blurred)
        seconds = time.perf_counter() - start
        before, after = scores(sharp, blurred), scores(sharp, deblurred)
        rows.append(
            {
                "name": pairs.name(i),
                "blurred_psnr": before["psnr"],
                "deblurred_psnr": after["psnr"],
                "blurred_ssim": before["ssim"],
                "deblurred_ssim": after["ssim"],
                "seconds": seconds,
            }
        )
    return rows


def mean_row(rows: list[dict]) -> dict:
    """Means of per-image values, as the row of an image named `mean`.

    Args:
        rows: what `evaluate_pairs` returns.

    Returns:
        A dictionary with the same keys.

    Example:

    ```python
    from keras_radn import training

    rows = [{"name": "a", "psnr": 30.0}, {"name": "b", "psnr": 32.0}]
    print(training.mean_row(rows)["psnr"])
    ```
    """
    keys = rows[0].keys() - {"name"}
    means = {key: fmean(row[key] for row in rows) for key in keys}
    return {"name": "mean", **means}
