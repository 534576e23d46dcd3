"""The log of a training, which is read where it is written and drawn."""

import os

import numpy as np

# In the order of `keras.callbacks.CSVLogger`. PSNR in dB.
COLUMNS = (
    "epoch",
    "dead_filters",
    "images_per_second",
    "learning_rate",
    "loss",
    "psnr",
    "step",
    "val_psnr",
    "val_ssim",
)


def read_log(path: str | os.PathLike) -> np.ndarray:
    """Reads a `log.csv` of `keras_radn.training.train`.

    Args:
        path: the file, with a header at least.

    Returns:
        A structured array with a row per epoch, float64; NaN where an epoch
        has no value.

    Raises:
        FileNotFoundError: if there is no such log.
    """
    return np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
