"""Compares the packaged network in bfloat16 with the same in float32.

    python benchmarks/half_precision.py

The pictures are four photographs of scikit-image, blurred by 10 pixels.
"""

import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from skimage import data
from skimage.metrics import peak_signal_noise_ratio

import keras_radn
from keras_radn.cli.tables import markdown_table
from keras_radn.datasets import motion_blur

COLUMNS = {
    "name": ("photograph", ""),
    "difference": ("bfloat16 to float32, dB", ".1f"),
    "float32": ("gain in float32, dB", "+.2f"),
    "bfloat16": ("gain in bfloat16, dB", "+.2f"),
}


def main() -> None:
    """Prints a row per photograph."""
    psnr = functools.partial(peak_signal_noise_ratio, data_range=1)
    rows = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        sharp = getattr(data, name)().astype("float32") / 255
        blurred = motion_blur(sharp, length=10, angle=0.5).clip(0, 1)
        single, half = (
            keras_radn.Deblurrer(dtype=dtype)(blurred)
            for dtype in ("float32", "bfloat16")
        )
        rows.append(
            {
                "name": name,
                "difference": psnr(single, half),
                "float32": psnr(sharp, single) - psnr(sharp, blurred),
                "bfloat16": psnr(sharp, half) - psnr(sharp, blurred),
            }
        )
    print(markdown_table(rows, COLUMNS))


if __name__ == "__main__":
    main()
