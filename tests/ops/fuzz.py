"""Draws calls of the compiled ops, against TensorFlow's own.

    python -m tests.ops.fuzz --cases 2000 [--alone] [--library FOLDER]

Shapes down to 1x1 and to empty batches, all groups, masks, strides; offsets
of which some are NaN, infinite, huge, or exactly on pixels and borders.
Prints the first case that differs and exits with 1.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, fused, library

TOLERANCES = {
    "float64": 1e-12,
    "float32": 2e-5,
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
SPECIAL = [np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, -(2.0**63)]
EXACT = [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, -3.0]


def draw(seed: int) -> tuple[list[tf.Tensor], dict]:
    """Tensors and keyword arguments of a call."""
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
    """What is wrong with the native results of a case, if anything."""
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


def difference_of_fused(seed: int, compare: bool = True) -> str | None:
    """The same of the ops for inference; they have no gradients."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice(["float32", "bfloat16"])
    batch = rng.integers(1, 4)
    height, width = rng.integers(1, rng.choice([2, 9, 70]), 2, endpoint=True)

    def normal(*shape, dtype="float32"):
        return tf.cast(rng.normal(size=shape), dtype)

    depths = rng.integers(1, 50, rng.integers(1, 6))
    inputs = [normal(batch, height, width, d, dtype=dtype) for d in depths]
    sizes = [int(2 * s) for s in rng.integers(1, 9, rng.integers(1, 5))]
    maps = [normal(batch, -(-height // s), -(-width // s), 1) for s in sizes]
    crop = rng.integers(1, (height, width), endpoint=True)
    calls = {
        "concat_affine_relu": (
            inputs,
            normal(depths.sum()),
            normal(depths.sum()),
        ),
        "reconstruct": (
            inputs[0],
            maps,
            sizes,
            normal(3, 3, depths[0] + len(maps), 3),
            normal(3),
            normal(batch, *crop, 3),
        ),
    }
    for name, arguments in calls.items():
        function = getattr(fused, name)
        native = tf.cast(function(*arguments, native=True), "float64")
        if not np.isfinite(native).all():
            return f"{name} is not finite"
        if compare:
            expected = tf.cast(function(*arguments, native=False), "float64")
            error = np.abs(native - expected).max()
            scale = max(1, np.abs(expected).max())
            if error > TOLERANCES[dtype] * scale:
                return f"{name} differs by {error:.2g} of {scale:.2g}"
    return None


def main() -> int:
    """Runs the cases; 1 if one of them differs."""
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
        for check in (difference, difference_of_fused):
            if problem := check(seed, not options.alone):
                print(f"case {seed}: {problem}")
                return 1
    print(f"{options.cases} cases passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
