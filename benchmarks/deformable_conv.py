"""Time of the deformable convolution beside a plain one, and its memory.

    python benchmarks/deformable_conv.py

Offsets are random, of 2 pixels. Ratios are to a plain 3x3 convolution of the
same shape and dtype, measured in the same run. The peak of memory is measured
in a process of its own: what one call frees, the next would take unseen.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

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
    fresh = ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with fresh:
        for case in CASES:
            for dtype in ("float32", "bfloat16"):
                for backward in (False, True):
                    peak = fresh.submit(peak_of, case, dtype, backward)
                    print_row(case, dtype, backward, peak.result())


def print_row(
    case: tuple[int, ...], dtype: str, backward: bool, peak: float
) -> None:
    """Measures the times of a case and prints its row."""
    tensors = arguments(case, dtype)
    seconds = median_seconds(compiled(deformable_conv2d, tensors, backward))
    plain = median_seconds(compiled(plain_conv2d, tensors, backward))
    height, width, channels, filters = case
    print(
        f"| {height}x{width}, {channels} to {filters} | {dtype} | "
        f"{'forward + backward' if backward else 'forward'} | "
        f"{1000 * seconds:.1f} | {seconds / plain:.1f} | {peak:.0f} |",
        flush=True,
    )


def peak_of(case: tuple[int, ...], dtype: str, backward: bool) -> float:
    """Peak memory of the first call of a process, in MB above its inputs."""
    tensors = arguments(case, dtype)
    inputs, kernel, offset = tensors
    small = [inputs[:, :8, :8], kernel, offset[:, :8, :8]]
    compiled(deformable_conv2d, small, backward)()
    return peak_megabytes(compiled(deformable_conv2d, tensors, backward))


def arguments(case: tuple[int, ...], dtype: str) -> list[tf.Tensor]:
    """Random inputs, kernel, and offsets of 2 pixels."""
    height, width, channels, filters = case
    inputs, kernel, offset = (
        tf.cast(tf.random.normal(shape), dtype)
        for shape in (
            [1, height, width, channels],
            [3, 3, channels, filters],
            [1, height, width, 18],
        )
    )
    return [inputs, kernel, 2 * offset]


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
