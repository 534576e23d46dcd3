"""Measures what a network gains at each scale of pictures, and at all of them.

    python benchmarks/multi_scale.py --pairs DIR [--preset lite | --model FILE]

Prints the mean gain in dB over the pairs, and the mean slope: what the
correction should have been in terms of what it is, by least squares. It is 1 if
the mean square of a correction is what it takes from the squared error, by
which `keras_radn.Deblurrer(multi_scale=True)` weights the scales.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.tables import markdown_table
from keras_radn.datasets import ImagePairs
from keras_radn.inference import Deblurrer
from keras_radn.inference.multi_scale import SCALES, correction, weighted_mean
from keras_radn.inference.network import as_function

# A half step more to both sides.
SHOWN = (0.5, *SCALES, 8**0.5)


def measure(network, blurred: np.ndarray, sharp: np.ndarray) -> dict:
    """Returns the gain in dB and the slope for each row of the table."""
    image = blurred.astype("float32") / 255
    missing = sharp.astype("float32") / 255 - image
    alone = {scale: correction(network, image, scale) for scale in SHOWN}
    used = [alone[scale] for scale in SCALES]
    rows = {f"{scale:.2f}": change for scale, change in alone.items()}
    rows["plain mean"] = np.mean(used, axis=0)
    rows["weighted"] = weighted_mean(used)
    before = peak_signal_noise_ratio(sharp, blurred)
    result = {}
    for name, change in rows.items():
        after = np.rint(255 * np.clip(image + change, 0, 1)).astype("uint8")
        gain = peak_signal_noise_ratio(sharp, after) - before
        slope = np.vdot(missing, change) / np.vdot(change, change)
        result[name] = gain, slope
    best = max(result[f"{scale:.2f}"] for scale in SCALES)
    result["the best for each, by the sharp one"] = best
    return result


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", required=True, help="blur/ and sharp/")
    add_model_arguments(parser)
    options = parser.parse_args()
    network = as_function(Deblurrer(load_model(options)).network)
    pairs = ImagePairs(options.pairs)
    results = [measure(network, *pairs.whole(i)) for i in range(len(pairs))]
    rows = []
    for name in results[0]:
        gain, slope = np.mean([result[name] for result in results], axis=0)
        rows.append({"scale": name, "gain": gain, "slope": slope})
    columns = {
        "scale": ("scale", ""),
        "gain": ("gain, dB", "+.2f"),
        "slope": ("slope", ".2f"),
    }
    print(markdown_table(rows, columns))


if __name__ == "__main__":
    main()
