"""Blurs Kodak's 24 photographs reproducibly.

    python benchmarks/kodak_pairs.py --kodak DIR --output DIR

Writes `blur/` and `sharp/`, for `keras-radn evaluate`. The blurs are those of
kodak_blur.csv, drawn once from the default `BlurStrength` (without foreground
and without sharp pictures): a row per photograph, in the order of their names,
with the arguments of `camera_path`, the exponent of the light that is averaged,
and the standard deviation of the noise of white in 1/255.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from keras_radn.datasets.blur_synthesis import camera_path, expose
from keras_radn.datasets.camera import to_uint8
from keras_radn.datasets.image_files import list_images, read_rgb

BLURS = Path(__file__).with_name("kodak_blur.csv")


def read_blurs() -> list[dict[str, float]]:
    """Reads the rows of kodak_blur.csv."""
    with BLURS.open(newline="") as file:
        return list(csv.DictReader(file, quoting=csv.QUOTE_NONNUMERIC))


def main() -> None:
    """Writes the pairs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kodak", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    blurs = read_blurs()
    photographs = list_images(options.kodak)
    if len(photographs) != len(blurs):
        raise SystemExit(
            f"{options.kodak} must have the {len(blurs)} photographs of the "
            f"set. Received: {len(photographs)}"
        )
    for name in ("blur", "sharp"):
        (options.output / name).mkdir(parents=True, exist_ok=True)
    for i, (photograph, blur) in enumerate(
        zip(photographs, blurs, strict=True)
    ):
        sharp = read_rgb(photograph)
        gamma, noise = blur.pop("gamma"), blur.pop("noise")
        light = (np.arange(256, dtype=np.float32) / 255) ** gamma
        mean, _ = expose([light[sharp]], [camera_path(**blur)])
        blurred = to_uint8(mean, gamma, noise, np.random.default_rng(i))
        for name, picture in (("blur", blurred), ("sharp", sharp)):
            target = options.output / name / f"{photograph.stem}.png"
            Image.fromarray(picture).save(target)


if __name__ == "__main__":
    main()
