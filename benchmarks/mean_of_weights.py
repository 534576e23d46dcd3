"""Means of the weights of two networks, one trained on from the other.

    python benchmarks/mean_of_weights.py RUN_A/model.keras RUN_B/model.keras
                                         [--parts 0 0.33 1] [-o WEIGHTS.npz]

For each part that the second network has, prints the mean gain on synthetic
blurs of scikit-image's photographs, and the PSNR of the output against them
where they are sharp and out of focus. `-o` writes the mean of the last part.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from keras_radn.cli.tables import markdown_table
from keras_radn.datasets.blur_synthesis import blur_scene
from keras_radn.datasets.camera import BlurStrength, out_of_focus
from keras_radn.inference import Deblurrer
from keras_radn.models.packaged_weights import write_weights

COLUMNS = {
    "part": ("part of the second", ".2f"),
    "gain": ("mean gain, dB", "+.3f"),
    "sharp": ("sharp, worst, dB", ".1f"),
    "soft": ("out of focus, mean, dB", ".1f"),
}
BLURS = 3  # of each photograph
RADII = (1.0, 1.7, 2.5)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--parts", nargs="+", type=float, default=[0, 0.5, 1])
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    model = keras.models.load_model(options.first)
    second = keras.models.load_model(options.second)
    weights = list(zip(model.get_weights(), second.get_weights(), strict=True))
    photographs = [
        data.astronaut(),
        data.coffee(),
        data.chelsea(),
        data.rocket(),
        data.stereo_motorcycle()[0][:500, :740],
    ]
    moving = BlurStrength(sharp=0, linear_light=0.5)
    pairs = [
        blur_scene(np.random.default_rng([i, k]), photograph, None, moving, 16)
        for i, photograph in enumerate(photographs)
        for k in range(BLURS)
    ]
    soft = [
        np.rint(out_of_focus(photograph.astype("float32"), radius)).astype(
            "uint8"
        )
        for photograph in photographs
        for radius in RADII
    ]
    rows = []
    for part in options.parts:
        model.set_weights([a + part * (b - a) for a, b in weights])
        deblurrer = Deblurrer(model)
        gains = [
            peak_signal_noise_ratio(sharp, deblurrer(blurred))
            - peak_signal_noise_ratio(sharp, blurred)
            for blurred, sharp in pairs
        ]
        kept, kept_soft = (
            [peak_signal_noise_ratio(x, deblurrer(x)) for x in pictures]
            for pictures in (photographs, soft)
        )
        rows.append(
            {
                "part": part,
                "gain": np.mean(gains),
                "sharp": min(kept),
                "soft": np.mean(kept_soft),
            }
        )
    print(markdown_table(rows, COLUMNS))
    if options.output:
        write_weights(model, options.output)


if __name__ == "__main__":
    main()
