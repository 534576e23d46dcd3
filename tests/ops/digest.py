"""Prints a digest of what the compiled ops compute on fixed numbers."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from keras_radn.ops import library
from tests.ops import fuzz, training_calls

ATTRIBUTES = {
    "kernel_size": [3, 3],
    "strides": [1, 1],
    "dilations": [1, 1],
    "padding": "SAME",
}


def compute(dtype: str) -> list[np.ndarray]:
    """Returns outputs and gradients of all ops on fixed numbers."""
    rng = np.random.default_rng(0)

    def normal(*shape, dtype=dtype):
        return tf.cast(rng.normal(size=shape), dtype)

    ops = library.load().ops
    wide = "float64" if dtype == "float64" else "float32"
    batch, height, width, filters, groups = 2, 37, 41, 19, 2
    samples = 9 * groups
    offset = 3 * normal(batch, height, width, 2 * samples, dtype=wide)
    mask = normal(batch, height, width, samples, dtype=wide)
    attributes = {**ATTRIBUTES, "offset_groups": groups}
    projected = normal(batch, height, width, samples * filters)
    gradient = normal(batch, height, width, filters)
    outputs = [
        ops.keras_radn_deformable_sum(projected, offset, [mask], **attributes)
    ]
    results = ops.keras_radn_deformable_sum_grad(
        gradient, projected, offset, [mask], **attributes
    )
    outputs += [*results[:2], *results[2]]
    inputs = normal(batch, height, width, 2 * groups * 7)
    rows = [tf.reshape(m, [-1, *m.shape[2:]]) for m in (offset, mask)]
    first = tf.constant(0, "int64")
    columns = ops.keras_radn_deformable_columns(
        inputs, rows[0], rows[1:], first, **attributes
    )
    results = ops.keras_radn_deformable_columns_grad(
        columns,
        inputs,
        rows[0],
        rows[1:],
        first,
        tf.zeros(inputs.shape, wide),
        **attributes,
    )
    outputs += [columns, *results[:2], *results[2]]
    if dtype in ("float32", "bfloat16"):
        calls = fuzz.fused_calls(rng, dtype, 1, (37, 41), (40, 16, 9), 24)
        outputs += [call(native=True) for call in calls.values()]
        shape = (2, 37, 41, 24)
        for call in (
            training_calls.dense_block(rng, shape, (8, 20), 40),
            training_calls.deform_units(rng, shape, (8, 20)),
            training_calls.convolution(rng, shape, 20, "3x3", "before"),
            training_calls.convolution(rng, shape, 20, "transposed", "behind"),
            training_calls.context(rng, shape, (4, 8)),
        ):
            results = call.run(dtype, native=True)
            outputs += [tf.constant(x) for x in tf.nest.flatten(results)]
    return [output.numpy() for output in outputs]


def digest(dtype: str) -> str:
    """Returns the SHA-256 of the results for a dtype."""
    sha = hashlib.sha256()
    for array in compute(dtype):
        sha.update(array.tobytes())
    return sha.hexdigest()


def concurrent_digests(dtype: str, threads: int, calls: int) -> set[str]:
    """Returns the different digests of calls from several threads."""
    with ThreadPoolExecutor(threads) as pool:
        return set(pool.map(digest, [dtype] * calls))


if __name__ == "__main__":
    print(*(digest(dtype) for dtype in ("float32", "bfloat16", "float64")))
