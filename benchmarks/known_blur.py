"""Measures the gain of a linear filter that is told the blur of Kodak's pairs.

    python benchmarks/kodak_pairs.py --kodak DIR --output PAIRS
    python benchmarks/known_blur.py --pairs PAIRS

Networks, which have to find the blur themselves, can be compared with it. It is
scikit-image's Wiener deconvolution, with the path of kodak_blur.csv as the
kernel, in the light that was averaged, and with the best of five
regularizations for each photograph. It is measured in the center, 90 pixels to
each side, where rotation and zoom, which a kernel cannot express, change least.
"""

import argparse

import numpy as np
from kodak_pairs import read_blurs
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import wiener

from keras_radn.cli.tables import markdown_table
from keras_radn.datasets import ImagePairs
from keras_radn.datasets.blur_synthesis import camera_path

BALANCES = (0.003, 0.01, 0.03, 0.1, 0.3)
HALF, MARGIN = 90, 40


def kernel_of(path: np.ndarray) -> np.ndarray:
    """Builds the point spread function of a path's translations.

    Args:
        path: `(instants, 6)`, as `camera_path` gives it.

    Returns:
        `(side, side)` with an odd side; the sum is 1.
    """
    points = path[:, :2]
    radius = int(np.abs(points).max()) + 1
    fine = np.linspace(0, len(points) - 1, 2000)
    x, y = (
        np.interp(fine, np.arange(len(points)), points[:, axis]) + radius
        for axis in (0, 1)
    )
    side = 2 * radius + 1
    left, top = x.astype(int), y.astype(int)
    kernel = np.zeros((side + 1, side + 1))
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - (y - top)) * np.abs(
                1 - right - (x - left)
            )
            np.add.at(kernel, (top + down, left + right), weight)
    return kernel[:side, :side] / kernel.sum()


def center(image: np.ndarray, half: int) -> np.ndarray:
    """Crops the middle of an image, `2 * half` pixels wide and high."""
    row, column = (size // 2 for size in image.shape[:2])
    return image[row - half : row + half, column - half : column + half]


def best_gain(
    blurred: np.ndarray, sharp: np.ndarray, kernel: np.ndarray, gamma: float
) -> float:
    """Finds the gain of the best regularization in dB, in the center.

    Args:
        blurred: `(height, width, 3)` in [0, 1].
        sharp: the same picture without blur.
        kernel: point spread function.
        gamma: exponent of the light.
    """
    light = center(blurred, HALF + MARGIN) ** gamma
    blurred, sharp = center(blurred, HALF), center(sharp, HALF)
    psnr = []
    for balance in BALANCES:
        restored = np.stack(
            [
                wiener(light[..., c], kernel, balance, clip=False)
                for c in range(3)
            ],
            axis=-1,
        )
        restored = np.clip(restored, 0, 1) ** (1 / gamma)
        inside = slice(MARGIN, -MARGIN)
        psnr.append(peak_signal_noise_ratio(sharp, restored[inside, inside]))
    return max(psnr) - peak_signal_noise_ratio(sharp, blurred)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", required=True)
    pairs = ImagePairs(parser.parse_args().pairs)
    rows = []
    for i, blur in enumerate(read_blurs()):
        length, gamma = blur["length"], blur.pop("gamma")
        del blur["noise"]
        kernel = kernel_of(camera_path(**blur))
        images = (image / 255.0 for image in pairs.whole(i))
        gain = best_gain(*images, kernel, gamma)
        rows.append({"picture": pairs.name(i), "length": length, "gain": gain})
    mean = {key: np.mean([r[key] for r in rows]) for key in ("length", "gain")}
    rows.append({"picture": "mean", **mean})
    columns = {
        "picture": ("picture", ""),
        "length": ("blur, px", ".1f"),
        "gain": ("gain, dB", "+.2f"),
    }
    print(markdown_table(rows, columns))


if __name__ == "__main__":
    main()
