"""Measures time and memory of the deformable convolution.

    python benchmarks/deformable_conv.py [--sampling | --scaling]

Offsets are random, of about 2 pixels. Ratios are to a plain 3x3 convolution of
the same shape and dtype; everything that a row compares is measured in turns.
The memory peak is measured in a separate process, since a call could otherwise
reuse what an earlier one has freed. `--sampling` leaves out the matrix product
that both implementations have in common, `--scaling` prints the time per pixel
over sizes of the image. Where PyTorch and torchvision are installed, its
`deform_conv2d` runs on the same numbers and the same device. On a GPU the first
line has its name, and the peak is that of its memory.
"""

import argparse
import functools
import importlib.util
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Else the first of the processes would take all of a GPU's memory.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import numpy as np
import tensorflow as tf

from keras_radn.inference.benchmark import (
    device_name,
    median_seconds,
    peak_megabytes,
)
from keras_radn.ops import deformable_conv2d, library
from keras_radn.ops import gather as gather_module
from keras_radn.ops.geometry import ConvGeometry

CASES = [
    # height, width, channels, filters
    (180, 320, 256, 32),
    (45, 80, 512, 32),
    (180, 320, 64, 64),
]
SIZES = [(90, 160), (180, 320), (360, 640), (720, 1280)]

native = functools.partial(deformable_conv2d, implementation="native")
gather = functools.partial(deformable_conv2d, implementation="gather")


def main() -> None:
    """Prints what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sampling", action="store_true")
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    print(
        f"On {device_name()}; CPU kernels: {library.load().instruction_set}\n"
    )
    if options.sampling:
        print_sampling()
    elif options.scaling:
        print_scaling()
    else:
        print_cases()


def print_cases() -> None:
    """Prints a row per case, dtype and direction."""
    print(
        "| case | dtype | direction | plain ms | native ms | native / plain "
        "| gather / native | torchvision / native | native peak MB |"
    )
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
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
    runs = [
        compiled(op, tensors, backward) for op in (plain_conv2d, native, gather)
    ]
    torchvision = torchvision_call(tensors, dtype, backward)
    times = median_seconds(*runs, *([torchvision] if torchvision else []))
    by_torchvision = f"{times[3] / times[1]:.1f}" if torchvision else ""
    height, width, channels, filters = case
    print(
        f"| {height}x{width}, {channels} to {filters} | {dtype} | "
        f"{'forward + backward' if backward else 'forward'} | "
        f"{1000 * times[0]:.1f} | {1000 * times[1]:.1f} | "
        f"{times[1] / times[0]:.2f} | {times[2] / times[1]:.1f} | "
        f"{by_torchvision} | {peak:.0f} |",
        flush=True,
    )


def print_sampling() -> None:
    """Prints the time of sampling a projection of 9 taps of 32 filters."""
    print("| case | dtype | direction | native ms | gather / native |")
    print("|---|---|---|---:|---:|")
    height, width, _, filters = CASES[0]
    for dtype in ("float32", "bfloat16"):
        inputs, _, offset = arguments((height, width, 9 * filters, 1), dtype)

        def by_library(projected, offset):
            return library.load().ops.keras_radn_deformable_sum(
                projected,
                tf.cast(offset, "float32"),
                [],
                kernel_size=[3, 3],
                strides=[1, 1],
                dilations=[1, 1],
                padding="SAME",
                offset_groups=1,
            )

        def by_gather(projected, offset):
            points = gather_module.sampling_points(
                projected,
                offset,
                ConvGeometry((3, 3), (1, 1), "same", (1, 1)),
                1,
            )
            return gather_module.sample_projected(projected, points, filters)

        for backward in (False, True):
            times = median_seconds(
                *(
                    compiled(op, [inputs, offset], backward)
                    for op in (by_library, by_gather)
                )
            )
            print(
                f"| {height}x{width}, 9 taps of {filters} | {dtype} | "
                f"{'forward + backward' if backward else 'forward'} | "
                f"{1000 * times[0]:.1f} | {times[1] / times[0]:.1f} |",
                flush=True,
            )


def print_scaling() -> None:
    """Prints the native op's time per pixel over sizes of the image."""
    print("| size | dtype | ns per pixel | to that of the first |")
    print("|---|---|---:|---:|")
    for dtype in ("float32", "bfloat16"):
        runs = [
            compiled(native, arguments((*size, 256, 32), dtype), False)
            for size in SIZES
        ]
        times = median_seconds(*runs)
        each = [
            1e9 * seconds / (height * width)
            for seconds, (height, width) in zip(times, SIZES, strict=True)
        ]
        for (height, width), nanoseconds in zip(SIZES, each, strict=True):
            print(
                f"| {height}x{width}, 256 to 32 | {dtype} | {nanoseconds:.0f} "
                f"| {nanoseconds / each[0]:.2f} |"
            )


def peak_of(case: tuple[int, ...], dtype: str, backward: bool) -> float:
    """Returns a process's peak memory in the first call, in MB above inputs."""
    tensors = arguments(case, dtype)
    inputs, kernel, offset = tensors
    small = [inputs[:, :8, :8], kernel, offset[:, :8, :8]]
    compiled(native, small, backward)()
    return peak_megabytes(compiled(native, tensors, backward))


def arguments(case: tuple[int, ...], dtype: str) -> list[tf.Tensor]:
    """Returns random inputs, kernel, and offsets of about 2 pixels."""
    height, width, channels, filters = case
    # NumPy's, for TensorFlow's generators leave freed memory behind that the
    # next call takes unseen.
    rng = np.random.default_rng(0)
    inputs, kernel, offset = (
        tf.constant(rng.standard_normal(shape, "float32"), dtype)
        for shape in (
            [1, height, width, channels],
            [3, 3, channels, filters],
            [1, height, width, 18],
        )
    )
    return [inputs, kernel, 2 * offset]


def plain_conv2d(inputs, kernel, offset):
    """Convolves without looking at the offset."""
    del offset
    return tf.nn.conv2d(inputs, kernel, 1, "SAME")


def compiled(op, tensors, backward):
    """Returns a call of the op, and of its gradients if asked."""

    @tf.function
    def run():
        if not backward:
            return op(*tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(op(*tensors) ** 2)
        return tape.gradient(loss, tensors)

    return run


def torchvision_call(tensors, dtype, backward):
    """Returns the same call in torchvision, or `None` if it cannot do it."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        import torch
        from torchvision.ops import deform_conv2d
    except (ImportError, RuntimeError):  # built for another PyTorch
        return None
    device = "cpu" if device_name() == "CPU" else "cuda"

    def converted(tensor, *axes):
        array = tf.transpose(tf.cast(tensor, "float32"), axes).numpy()
        return torch.tensor(
            array, dtype=getattr(torch, dtype), device=device
        ).requires_grad_(backward)

    inputs, kernel, offset = tensors
    arguments = {
        "input": converted(inputs, 0, 3, 1, 2),
        "offset": converted(offset, 0, 3, 1, 2),
        "weight": converted(kernel, 3, 2, 0, 1),
    }

    def run():
        outputs = deform_conv2d(**arguments, padding=1)
        if backward:
            (outputs**2).sum().backward()
            for tensor in arguments.values():
                tensor.grad = None
        if device == "cuda":
            torch.cuda.synchronize()
        return outputs

    try:
        run()
    except (NotImplementedError, RuntimeError):
        return None  # it has kernels for some dtypes only
    return run


if __name__ == "__main__":
    main()
