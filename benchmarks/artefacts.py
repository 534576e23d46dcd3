"""What a network does to pictures that it should leave alone.

    python benchmarks/artefacts.py --sharp DIR [--preset NAME | --model FILE]
                                   [--multi-scale]

For each sharp photograph, prints the PSNR of the output against it and the mean
change (the shift of brightness and color). For synthetic flat pictures, prints
the largest change, and how much of it repeats from one block of 2x2, 4x4 or 8x8
pixels to the next (a checkerboard, as deconvolutions can make).
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.tables import markdown_table
from keras_radn.datasets.image_files import list_images, read_rgb
from keras_radn.inference import Deblurrer

PHOTOGRAPHS = {
    "name": ("sharp photograph", ""),
    "psnr": ("output against input, dB", ".1f"),
    "shift": ("largest mean change of a channel, 1/255", ".2f"),
}
FLAT = {
    "name": ("flat picture", ""),
    "largest": ("largest change, 1/255", ".2f"),
    **{
        f"period{n}": (f"repeats every {n} pixels, 1/255", ".3f")
        for n in (2, 4, 8)
    },
}


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sharp", required=True, help="folder")
    add_model_arguments(parser)
    parser.add_argument("--multi-scale", action="store_true")
    options = parser.parse_args()
    deblurrer = Deblurrer(load_model(options), multi_scale=options.multi_scale)
    rows = []
    for path in list_images(options.sharp):
        sharp = read_rgb(path)
        result = deblurrer(sharp)
        change = result.astype("float64") - sharp
        with np.errstate(divide="ignore"):  # infinite if nothing changes
            psnr = peak_signal_noise_ratio(sharp, result)
        rows.append(
            {
                "name": path.name,
                "psnr": psnr,
                "shift": np.abs(change.mean(axis=(0, 1))).max(),
            }
        )
    rows.append(
        {
            "name": "worst",
            "psnr": min(row["psnr"] for row in rows),
            "shift": max(row["shift"] for row in rows),
        }
    )
    print(markdown_table(rows, PHOTOGRAPHS))
    print()
    flat = {
        "black": np.zeros(3),
        "gray": np.full(3, 0.5),
        "white": np.ones(3),
        "red": np.array([0.8, 0.1, 0.1]),
        "sky": np.array([0.4, 0.6, 0.9]),
    }
    rows = []
    for name, color in flat.items():
        picture = np.broadcast_to(color, (256, 256, 3)).astype("float32")
        # 64 pixels from the border, whose padding the network sees.
        change = 255 * (deblurrer(picture) - picture)
        change = change[64:-64, 64:-64]
        rows.append({"name": name, "largest": np.abs(change).max()})
        for n in (2, 4, 8):
            cells = change.reshape(128 // n, n, 128 // n, n, 3).mean((0, 2))
            rows[-1][f"period{n}"] = (cells - cells.mean((0, 1))).std()
    print(markdown_table(rows, FLAT))


if __name__ == "__main__":
    main()
