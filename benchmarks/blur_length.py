"""Compares a network with a linear filter on straight blurs of one length.

    python benchmarks/blur_length.py --sharp DIR [--preset lite | --model FILE]
                                     [--multi-scale]

Each photograph is blurred along a line in a random (seeded) direction, without
linear light and with noise of 0.8/255. The network has to find the blur;
scikit-image's Wiener deconvolution is told what it is. Prints the mean gain in
dB over the photographs, in their centers (see known_blur.py).
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from known_blur import HALF, best_gain, center, kernel_of
from skimage.metrics import peak_signal_noise_ratio

from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.tables import markdown_table
from keras_radn.datasets import motion_blur
from keras_radn.datasets.blur_synthesis import camera_path
from keras_radn.datasets.camera import to_uint8
from keras_radn.datasets.image_files import list_images, read_rgb
from keras_radn.inference import Deblurrer

LENGTHS = (2, 4, 8, 16, 24)
NOISE = 0.8


def gains(photographs: list[np.ndarray], length: float, deblur) -> dict:
    """Returns the means over the photographs for a row of the table."""
    rows = []
    for i, sharp in enumerate(photographs):
        rng = np.random.default_rng([int(length), i])
        angle = rng.uniform(0, 2 * np.pi)
        light = motion_blur(sharp.astype("float32") / 255, length, angle)
        blurred = to_uint8(light, 1.0, NOISE, rng)
        before, after = (
            peak_signal_noise_ratio(center(sharp, HALF), center(image, HALF))
            for image in (blurred, deblur(blurred))
        )
        kernel = kernel_of(camera_path(length, angle))
        told = best_gain(blurred / 255, sharp / 255, kernel, 1.0)
        rows.append((before, after - before, told))
    means = (length, *np.mean(rows, axis=0))
    return dict(zip(("length", "blurred", "gain", "told"), means, strict=True))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sharp", required=True)
    add_model_arguments(parser)
    parser.add_argument("--multi-scale", action="store_true")
    options = parser.parse_args()
    deblur = Deblurrer(load_model(options), multi_scale=options.multi_scale)
    photographs = [read_rgb(path) for path in list_images(options.sharp)]
    columns = {
        "length": ("blur, px", ""),
        "blurred": ("blurred, dB", ".2f"),
        "gain": ("network, dB", "+.2f"),
        "told": ("Wiener filter told the blur, dB", "+.2f"),
    }
    rows = [gains(photographs, length, deblur) for length in LENGTHS]
    print(markdown_table(rows, columns))


if __name__ == "__main__":
    main()
