"""The deformable convolution on a GPU, against loops in float64."""

import keras
import numpy as np
import pytest

from keras_radn.ops import deformable_conv2d
from tests import oracles
from tests.gpu import devices

pytestmark = pytest.mark.gpu

# Relative to the largest value. Offsets stay float32, so that only the
# arithmetic is measured.
TOLERANCE = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}

# Both orders of computation, groups, paddings, strides, dilation.
CASES = {
    "projected": {"filters": 2},
    "sampled": {"filters": 8},
    "valid": {"filters": 2, "padding": "valid"},
    "strides": {"filters": 8, "strides": (2, 3)},
    "dilation": {"filters": 2, "dilation_rate": (3, 2)},
    "groups": {"filters": 8, "groups": 2, "offset_groups": 2},
    "plain": {"filters": 8, "mask": False},
    "wild": {"filters": 8, "offset": 1e9},
}


def draw(filters, groups=1, mask=True, offset=2.0, **arguments):
    """Draws arrays for a call: 2 images of 9x10 with 4 channels, 3x3 taps."""
    rng = np.random.default_rng(3)
    strides = arguments.get("strides", (1, 1))
    dilation = arguments.get("dilation_rate", (1, 1))
    out = []
    for size, stride, rate in zip((9, 10), strides, dilation, strict=True):
        valid = arguments.get("padding") == "valid"
        out.append(-(-(size - 2 * rate * valid) // stride))
    taps = 9 * arguments.get("offset_groups", 1)
    offsets = rng.normal(size=(2, *out, 2 * taps), scale=offset)
    # Away from pixels, where derivatives jump.
    fractions = np.clip(offsets % 1, 0.05, 0.95)
    arrays = [
        rng.normal(size=(2, 9, 10, 4)),
        rng.normal(size=(3, 3, 4 // groups, filters)),
        np.floor(offsets) + fractions,
    ]
    if mask:
        arrays.append(rng.uniform(size=(2, *out, taps)))
    return arrays, arguments


@pytest.mark.parametrize("implementation", ["auto", "gather"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case, dtype, implementation, kind):
    """Gradients along random directions equal finite differences."""
    arrays, arguments = draw(**CASES[case])
    # Rounded to the type, so that what is measured is the arithmetic.
    dtypes = [dtype, dtype, "float32", "float32"][: len(arrays)]
    arrays = [
        keras.ops.convert_to_numpy(
            keras.ops.cast(keras.ops.convert_to_tensor(array, d), "float32")
        ).astype("float64")
        for array, d in zip(arrays, dtypes, strict=True)
    ]

    def call(*tensors):
        return deformable_conv2d(
            *tensors, implementation=implementation, **arguments
        )

    outputs, *gradients = devices.gradients(call, arrays, dtypes)
    assert devices.kind_of(outputs) == kind
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    expected = oracles.deformable_conv2d(*arrays, **arguments)
    tolerance = TOLERANCE[dtype]
    error = np.abs(as_float64(outputs) - expected).max()
    assert error <= tolerance * np.abs(expected).max()

    rng = np.random.default_rng(4)
    for i, gradient in enumerate(map(as_float64, gradients)):
        direction = rng.normal(size=arrays[i].shape)
        step = 1e-6
        losses = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = arrays[i] + sign * step * direction
            moved_outputs = oracles.deformable_conv2d(*moved, **arguments)
            losses.append(np.sum(moved_outputs**2))
        slope = (losses[0] - losses[1]) / (2 * step)
        scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert abs(np.sum(gradient * direction) - slope) <= (
            4 * tolerance * scale + 1e-3
        )


def as_float64(tensor):
    wide = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(wide).astype("float64")


def test_empty_batch(kind):
    inputs, kernel, offset, mask = draw(filters=2)[0]
    outputs = deformable_conv2d(
        *(
            keras.ops.convert_to_tensor(array, "float32")
            for array in (inputs[:0], kernel, offset[:0], mask[:0])
        )
    )
    assert tuple(outputs.shape) == (0, 9, 10, 2)
    assert devices.kind_of(outputs) == kind


def test_memory(kind):
    """The channels at all taps, 531 MB, are never held at once."""
    shapes = (1, 180, 320, 256), (3, 3, 256, 32), (1, 180, 320, 18)
    arguments = [keras.ops.ones(shape, "float32") for shape in shapes]

    def call():
        return deformable_conv2d(*arguments)

    if kind == "cpu":  # where this is a rehearsal, and nothing to measure
        assert tuple(call().shape) == (1, 180, 320, 32)
    else:
        assert devices.peak_bytes(call) < 531e6
