"""Time and memory of RADN on one image.

    python benchmarks/network.py [--size 1280x720] [--dtype float32]

The ratio is to a plain 3x3 convolution, 128 to 128 channels at 640x360 and of
the same dtype, measured in the same run.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from measure import median_seconds, peak_megabytes

from keras_radn import RADN


def main() -> None:
    """Prints a row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))

    dtype = options.dtype.removeprefix("mixed_")
    tensors = [
        tf.cast(tf.random.normal(shape), dtype)
        for shape in ([1, 360, 640, 128], [3, 3, 128, 128])
    ]
    calibration = tf.function(lambda: tf.nn.conv2d(*tensors, 1, "SAME"))
    model = RADN(dtype=options.dtype)
    small = np.random.default_rng(0).random((1, 64, 64, 3), "float32")
    for size in (64, 48):  # traced for any size at the second
        model.predict_on_batch(small[:, :size])
    image = np.random.default_rng(0).random((1, height, width, 3), "float32")
    peak = peak_megabytes(lambda: model.predict_on_batch(image))
    seconds, plain = median_seconds(
        lambda: model.predict_on_batch(image),
        calibration,
        repetitions=options.repetitions,
    )
    ratio = seconds / plain
    print("| size | dtype | s | ratio | peak MB above the model |")
    print("|---|---|---:|---:|---:|")
    print(
        f"| {options.size} | {options.dtype} | {seconds:.2f} | {ratio:.1f} | "
        f"{peak:.0f} |"
    )


if __name__ == "__main__":
    main()
