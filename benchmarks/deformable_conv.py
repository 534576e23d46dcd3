"""Time of the deformable convolution beside a plain one, and its memory.

    python benchmarks/deformable_conv.py

Offsets are random, of 2 pixels. Ratios are to a plain 3x3 convolution of the
same shape and dtype, measured in the same run.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from measure import median_seconds, peak_megabytes

from keras_radn.ops import deformable_conv2d

CASES = [
    # height, width, channels, filters
    (180, 320, 256, 32),
    (45, 80, 512, 32),
    (180, 320, 64, 64),
]


def main() -> None:
    """Prints a row per case, dtype and direction."""
    print("| case | dtype | direction | ms | ratio | peak MB |")
    print("|---|---|---|---:|---:|---:|")
    for height, width, channels, filters in CASES:
        for dtype in ("float32", "bfloat16"):
            tensors = [
                tf.cast(tf.random.normal(shape), dtype)
                for shape in (
                    [1, height, width, channels],
                    [3, 3, channels, filters],
                    [1, height, width, 18],
                )
            ]
            tensors[2] *= 2
            for backward in (False, True):
                deformable = compiled(deformable_conv2d, tensors, backward)
                plain = compiled(plain_conv2d, tensors, backward)
                peak = peak_megabytes(deformable)
                seconds = median_seconds(deformable)
                print(
                    f"| {height}x{width}, {channels} to {filters} | {dtype} | "
                    f"{'forward + backward' if backward else 'forward'} | "
                    f"{1000 * seconds:.1f} | "
                    f"{seconds / median_seconds(plain):.1f} | {peak:.0f} |",
                    flush=True,
                )


def plain_conv2d(inputs, kernel, offset):
    """A convolution that does not look at the offset."""
    del offset
    return tf.nn.conv2d(inputs, kernel, 1, "SAME")


def compiled(op, tensors, backward):
    """The op, with its gradients if asked for, as a call without arguments."""

    @tf.function
    def run():
        if not backward:
            return op(*tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(op(*tensors) ** 2)
        return tape.gradient(loss, tensors)

    return run


if __name__ == "__main__":
    main()
