"""Compares the compiled ops with TensorFlow's own on random calls.

    python -m tests.ops.fuzz --cases 2000 [--alone] [--library FOLDER]

Shapes go down to 1x1 and to empty batches, with all groups, masks and
strides; some offsets are NaN, infinite, huge, or exactly on pixels and
borders. Prints the first case that differs and exits with 1.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_radn.layers.self_attention import attend
from keras_radn.ops import deformable_conv2d, fused, library
from tests.ops import training_calls

TOLERANCES = {
    "float64": 1e-12,
    "float32": 2e-5,
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
SPECIAL = [np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, -(2.0**63)]
EXACT = [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, -3.0]


def draw(seed: int) -> tuple[list[tf.Tensor], dict]:
    """Draws tensors and keyword arguments of a call."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice(list(TOLERANCES), p=[0.2, 0.5, 0.15, 0.15])
    batch = rng.choice([0, 1, 1, 2, 3])
    height, width = rng.integers(1, rng.choice([2, 5, 13]), 2, endpoint=True)
    offset_groups, groups = rng.choice([1, 1, 2, 3], 2)
    channels = offset_groups * groups * rng.integers(1, 8)
    filters = groups * rng.integers(1, rng.choice([2, 40]))
    kernel_size = rng.integers(1, 4, 2)
    strides = tuple(map(int, rng.integers(1, 4, 2)))
    dilation = tuple(map(int, rng.integers(1, 4, 2)))
    extents = (kernel_size - 1) * dilation + 1
    padding = "same"
    out = [-(-s // t) for s, t in zip((height, width), strides, strict=True)]
    if rng.random() < 0.4 and (extents <= (height, width)).all():
        padding = "valid"
        out = (np.array([height, width]) - extents) // strides + 1
    samples = offset_groups * int(np.prod(kernel_size))
    offset = rng.normal(size=(batch, *out, 2 * samples))
    offset *= rng.choice([0.3, 2, 10])
    for values, share in ((SPECIAL, 0.05), (EXACT, 0.2)):
        chosen = rng.random(offset.shape) < share * rng.integers(2)
        offset[chosen] = rng.choice(values, chosen.sum())
    arrays = [
        rng.normal(size=(batch, height, width, channels)),
        rng.normal(size=(*kernel_size, channels // groups, filters)),
    ]
    coordinates = [offset]
    if rng.random() < 0.5:
        coordinates.append(rng.normal(size=(batch, *out, samples)))
    tensors = [tf.cast(array, dtype) for array in arrays]
    # float32 offsets: in half precision rounding would decide the floor.
    wide = "float64" if dtype == "float64" else "float32"
    tensors += [tf.cast(array, wide) for array in coordinates]
    return tensors, {
        "strides": strides,
        "padding": padding,
        "dilation_rate": dilation,
        "offset_groups": int(offset_groups),
    }


def difference(seed: int, compare: bool = True) -> str | None:
    """Returns how the native results of a case differ, or `None`."""
    tensors, arguments = draw(seed)
    results = {}
    for implementation in ("native", "gather") if compare else ("native",):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = deformable_conv2d(
                *tensors, **arguments, implementation=implementation
            )
            loss = tf.reduce_sum(tf.cast(outputs, "float64") ** 2)
        results[implementation] = [outputs, *tape.gradient(loss, tensors)]
    names = ["outputs", "inputs", "kernel", "offset", "mask"]
    results.setdefault("gather", results["native"])
    for name, native, gather in zip(names, *results.values(), strict=False):
        if native.shape != gather.shape or native.dtype != gather.dtype:
            return f"{name}: {native.shape}, {gather.shape}"
        if 0 in native.shape:
            continue
        native, gather = (tf.cast(x, "float64") for x in (native, gather))
        if not np.isfinite(native).all():
            return f"{name} is not finite"
        error = np.abs(native - gather).max()
        scale = max(1, np.abs(gather).max())
        if error > TOLERANCES[tensors[0].dtype.name] * scale:
            return f"{name} differs by {error:.2g} of {scale:.2g}"
    return None


def draw_kernel(rng, side, channels, filters):
    """Draws the kernel of a convolution that keeps magnitudes."""
    shape = (side, side, channels, filters)
    return rng.normal(size=shape) / (side * channels**0.5)


def draw_units(rng, first, added, filters):
    """Draws dense units, and deformable ones, behind `first` channels."""
    kernel = functools.partial(draw_kernel, rng)
    widths = [first + sum(added[:i]) for i in range(len(added))]
    dense = [
        fused.DenseUnit(
            *rng.normal(size=(2, width)),
            kernel(1, width, filters),
            rng.normal(size=filters),
            kernel(3, filters, growth),
        )
        for width, growth in zip(widths, added, strict=True)
    ]
    deform = [
        fused.DeformUnit(
            kernel(3, width, 18),
            rng.normal(size=18),
            kernel(3, width, growth),
            rng.normal(size=growth),
        )
        for width, growth in zip(widths, added, strict=True)
    ]
    return dense, deform


def fused_calls(
    rng: np.random.Generator,
    dtype: str,
    batch: int,
    size: tuple[int, int],
    depths: tuple[int, ...],
    filters: int,
) -> dict[str, Callable[[bool], tf.Tensor]]:
    """Returns calls of all ops for inference, as functions of `native`.

    Args:
        rng: draws the numbers.
        dtype: `"float32"` or `"bfloat16"`.
        batch: number of images.
        size: height and width of the features.
        depths: channels of parts that are concatenated, then of the outputs
            of units.
        filters: of convolutions.
    """

    def normal(*shape, dtype="float32"):
        return tf.cast(rng.normal(size=shape), dtype)

    kernel = functools.partial(draw_kernel, rng)
    first, *added = depths
    parts = [normal(batch, *size, depth, dtype=dtype) for depth in depths]
    x, width = parts[0], sum(depths)
    dense, deform = draw_units(rng, first, added, filters)
    scales = [int(2 * s) for s in rng.integers(1, 9, rng.integers(1, 5))]
    maps = [normal(batch, *(-(-n // s) for n in size), 1) for s in scales]
    images = normal(batch, *rng.integers(1, size, endpoint=True), 3)
    rows = rng.integers(1, 5, 2)
    queries = normal(batch, *size, filters, dtype=dtype)
    keys = normal(batch, *rows, filters, dtype=dtype)
    values = normal(batch, *rows, first, dtype=dtype)
    pool, half = map(int, rng.integers(1, 4, 2))
    rows = [-(-n // pool) for n in size]
    near_keys = normal(batch, *rows, filters, dtype=dtype)
    near_values = normal(batch, *rows, first, dtype=dtype)
    bias, affine = rng.normal(size=filters), tuple(rng.normal(size=(2, first)))
    side, relu = rng.choice([1, 3]), bool(rng.integers(2))
    arguments = {
        "dense_block": (x, dense),
        "deform_units": ([x], deform, 1.5),
        "deform_units of parts": (
            parts,
            [
                fused.DeformUnit(
                    kernel(3, width, 18),
                    rng.normal(size=18),
                    kernel(3, width, filters),
                    bias,
                )
            ],
            64.0,
        ),
        "convolution": (x, kernel(side, first, filters), bias, relu, affine),
        "convolution alone": (x, kernel(4 - side, first, filters)),
        "deconvolution": (
            parts,
            kernel(4, width, filters).swapaxes(2, 3),
            bias,
        ),
        "attention": (x, queries, keys, values),
        "attention in windows": (
            x,
            queries,
            near_keys,
            near_values,
            2 * pool * half,
            pool,
        ),
        "reconstruct": (
            x,
            maps,
            scales,
            normal(3, 3, first + len(maps), 3),
            normal(3),
            images,
        ),
    }
    return {
        name: functools.partial(
            attention
            if name.startswith("attention")
            else getattr(fused, name.split()[0]),
            *values,
        )
        for name, values in arguments.items()
    }


def attention(x, queries, keys, values, window=0, pool=1, *, native):
    if native:
        return fused.attention(x, queries, keys, values, window, pool)
    return x + attend(queries, keys, values, window_size=window, pool_size=pool)


def difference_of_fused(seed: int, compare: bool = True) -> str | None:
    """Does the same for the ops for inference, which have no gradients."""
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float32", "bfloat16"]))
    calls = fused_calls(
        rng,
        dtype,
        batch=rng.integers(0, 4),
        size=tuple(rng.integers(1, rng.choice([2, 9, 70]), 2, endpoint=True)),
        depths=tuple(rng.integers(1, 50, rng.integers(1, 5))),
        filters=rng.integers(1, 80),
    )
    return differences(calls, dtype, compare)


def differences(calls, dtype, compare=True):
    """Returns how one of the calls differs, or `None`."""
    for name, call in calls.items():
        native = tf.cast(call(native=True), "float64")
        if not np.isfinite(native).all():
            return f"{name} is not finite"
        if not compare or 0 in native.shape:  # where TensorFlow's own fail
            continue
        expected = tf.cast(call(native=False), "float64")
        if native.shape != expected.shape:
            return f"{name}: {native.shape}, {expected.shape}"
        error = np.abs(native - expected).max()
        scale = max(1, np.abs(expected).max())
        if error > TOLERANCES[dtype] * scale:
            return f"{name} differs by {error:.2g} of {scale:.2g}"
    return None


def difference_of_training(call: training_calls.Call) -> str | None:
    """Returns how the results of an op for training differ, or `None`."""
    exact = call.run("float64", native=False)
    for kind, results in call.run("float32", native=True).items():
        for i, (result, expected) in enumerate(
            zip(results, exact[kind], strict=True)
        ):
            if result.shape != expected.shape:
                return f"{kind}[{i}]: {result.shape}, {expected.shape}"
            # One ReLU that rounding turns off is no fault.
            error = relative_error(result, expected)
            if not error < 2e-3:
                return f"{kind}[{i}] differs by {error:.2g}"
    return None


def relative_error(result: np.ndarray, expected: np.ndarray) -> float:
    """Returns the norm of the difference, relative to that of the second."""
    return np.linalg.norm(result - expected) / max(
        1e-3, np.linalg.norm(expected)
    )


def training_difference(seed: int, compare: bool = True) -> str | None:
    """Does the same for the ops for training."""
    call = training_calls.draw(seed)
    if compare:
        return difference_of_training(call)
    for dtype in ("float32", "bfloat16"):
        results = tf.nest.flatten(call.run(dtype, native=True))
        if not all(np.isfinite(result).all() for result in results):
            return f"not finite in {dtype}"
    return None


def main() -> int:
    """Runs the cases; returns 1 if one of them differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="do not compare")
    parser.add_argument("--library", type=Path, help="folder of another build")
    options = parser.parse_args()
    if options.library is not None:
        library.folder = lambda: options.library
    print(library.load().instruction_set, flush=True)
    for seed in range(options.first, options.first + options.cases):
        for check in (difference, difference_of_fused, training_difference):
            if problem := check(seed, not options.alone):
                print(f"case {seed}: {problem}")
                return 1
    print(f"{options.cases} cases passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
