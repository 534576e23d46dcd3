"""Measures time, memory and error of images in tiles.

    python benchmarks/tiling.py [--size 1280x720 ...] [--tile auto]

Every size runs in a separate process. PSNR is that of the tiled result
against the whole image at once, for sizes of up to 2 megapixels; "bytes per
pixel" is the peak above the loaded model, per pixel of a tile.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN
from keras_radn.inference import Deblurrer
from keras_radn.inference.benchmark import peak_megabytes

HEADER = (
    "| size | tiles | s | s per megapixel | peak MB above the model | peak MB "
    "in all | bytes per pixel | PSNR to the whole, dB |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|"
)


def main() -> None:
    """Prints a row per size."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--size", nargs="+", default=["1280x720", "3840x2160", "10000x10000"]
    )
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--overlap", type=int)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.size[0], options.tile, options.overlap)
        return
    print(HEADER, flush=True)
    for size in options.size:
        arguments = [sys.executable, __file__, "--child", "--size", size]
        arguments += ["--tile", options.tile]
        if options.overlap is not None:
            arguments += ["--overlap", str(options.overlap)]
        subprocess.run(arguments, check=True)


def measure(size: str, tile: str, overlap: int | None) -> None:
    """Prints the row of one size."""
    width, height = map(int, size.split("x"))
    tile = tile if tile == "auto" else int(tile)
    model = RADN(pretrained=True)
    deblurrer = Deblurrer(model, tile=tile, overlap=overlap)
    small = np.zeros((64, 64, 3), np.uint8)
    deblurrer(small)
    image = photograph(height, width)
    grid = deblurrer.grid(height, width)
    start = time.perf_counter()
    peak = peak_megabytes(lambda: deblurrer(image))
    seconds = time.perf_counter() - start
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = peak * 2**20 / grid.tile_pixels
    psnr = ""
    if height * width <= 2**21 and len(grid) > 1:
        image = image.astype("float32") / 255
        whole = Deblurrer(model, tile=None)(image)
        psnr = peak_signal_noise_ratio(whole, deblurrer(image), data_range=1)
        psnr = f"{psnr:.1f}"
    print(
        f"| {size} | {len(grid)} of {grid.columns.tile}x{grid.rows.tile} | "
        f"{seconds:.1f} | {seconds / (height * width) * 1e6:.2f} | {peak:.0f} "
        f"| {total:.0f} | {each:.0f} | {psnr} |",
        flush=True,
    )


def photograph(height: int, width: int) -> np.ndarray:
    """Enlarges and blurs a photograph, and repeats it where it is too small."""
    side = min(max(height, width), 2048)
    photo = np.asarray(Image.fromarray(data.astronaut()).resize((side, side)))
    photo = ndimage.uniform_filter1d(photo, 9, axis=1)
    copies = -(-height // side), -(-width // side), 1
    return np.tile(photo, copies)[:height, :width].copy()


if __name__ == "__main__":
    main()
