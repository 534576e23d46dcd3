"""The deformable convolution, on the backend that Keras uses."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_radn.ops import backend, deformable_conv2d, gather, torchvision_op
from keras_radn.ops.implementation import VARIABLE
from tests import oracles
from tests.backends.gradients import float64, gradients

IS_TORCH = keras.backend.backend() == "torch"


@pytest.fixture(autouse=True, params=["gather", "torchvision"][: 1 + IS_TORCH])
def implementation(request, monkeypatch):
    """By gathering; with PyTorch also as on its GPUs, though on the CPU."""
    if request.param == "gather":
        monkeypatch.setenv(VARIABLE, "gather")
    else:
        monkeypatch.setattr(
            backend,
            "compiled_convolution",
            lambda *arguments: torchvision_op.deformable_conv2d,
        )


def draw(seed):
    """Draws arrays and arguments of a call, for both orders of computation."""
    rng = np.random.default_rng(seed)
    groups, offset_groups = [(1, 1), (2, 1), (1, 2), (2, 2)][seed % 4]
    filters = [2, 8][seed // 4 % 2]
    arguments = {
        "strides": ((1, 2), 1)[seed % 2],
        "padding": ("same", "valid")[seed // 2 % 2],
        "dilation_rate": (1, (2, 1))[seed // 4 % 2],
        "offset_groups": offset_groups,
    }
    inputs = rng.standard_normal((2, 7, 8, 4))
    kernel = rng.standard_normal((3, 2, 4 // groups, filters))
    size = keras.layers.Conv2D(
        1,
        (3, 2),
        arguments["strides"],
        arguments["padding"],
        dilation_rate=arguments["dilation_rate"],
    ).compute_output_shape((2, 7, 8, 4))[1:3]
    samples = 6 * offset_groups
    offset = rng.standard_normal((2, *size, 2 * samples))
    offset *= rng.choice([0.5, 3, 30])
    arrays = [inputs, kernel, offset]
    if seed % 3 == 0:
        arrays.append(rng.random((2, *size, samples)))
    return [array.astype("float32") for array in arrays], arguments


# Strides go with no dilation, as in Keras.
SEEDS = [seed for seed in range(16) if seed % 2 or seed // 4 % 2 == 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_equation_4(seed):
    arrays, arguments = draw(seed)
    outputs = deformable_conv2d(*arrays, **arguments)
    pairs = {
        name: (value,) * 2 if isinstance(value, int) else value
        for name, value in arguments.items()
        if name in ("strides", "dilation_rate")
    }
    expected = oracles.deformable_conv2d(
        *(array.astype("float64") for array in arrays), **{**arguments, **pairs}
    )
    np.testing.assert_allclose(float64(outputs), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3, 5, 9, 13])
def test_gradients(seed):
    """Gradients equal finite differences of a loop in float64."""
    arrays, arguments = draw(seed)
    rng = np.random.default_rng(seed)
    _, taken = gradients(
        lambda *tensors: deformable_conv2d(*tensors, **arguments), arrays
    )
    pairs = {
        name: (value,) * 2 if isinstance(value, int) else value
        for name, value in arguments.items()
        if name in ("strides", "dilation_rate")
    }

    def loss(step, directions):
        moved = [a + step * d for a, d in zip(arrays, directions, strict=True)]
        outputs = oracles.deformable_conv2d(*moved, **{**arguments, **pairs})
        return np.sum(outputs**2)

    for i, array in enumerate(arrays):
        directions = [np.zeros(a.shape) for a in arrays]
        directions[i] = rng.standard_normal(array.shape)
        step = 1e-6
        slope = loss(step, directions) - loss(-step, directions)
        expected = slope / (2 * step)
        actual = np.sum(taken[i] * directions[i])
        scale = np.linalg.norm(taken[i]) + 1
        assert abs(actual - expected) < 1e-3 * scale


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 9, 13])
def test_chunks_of_rows(seed, monkeypatch):
    arrays, arguments = draw(seed)

    def call(*tensors):
        return deformable_conv2d(*tensors, **arguments)

    expected, expected_gradients = gradients(call, arrays)
    monkeypatch.setattr(gather, "_CHUNK_ELEMENTS", 300)
    outputs, taken = gradients(call, arrays)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for one, other in zip(taken, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_samples_outside_are_zero(value):
    inputs, kernel = np.ones((1, 3, 3, 4), "float32"), np.ones((1, 1, 4, 2))
    offset = np.zeros((1, 3, 3, 2), "float32")
    offset[0, 1, 1, 0] = value
    outputs = float64(deformable_conv2d(inputs, kernel, offset))
    expected = np.full((1, 3, 3, 2), 4.0)
    expected[0, 1, 1] = 0
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    arrays, arguments = draw(1)
    expected = float64(deformable_conv2d(*arrays, **arguments))
    inputs = keras.ops.cast(arrays[0], dtype)
    outputs = deformable_conv2d(inputs, *arrays[1:], **arguments)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    error = np.abs(float64(outputs) - expected).max()
    assert error < 0.02 * np.abs(expected).max()


def test_empty_batch():
    inputs, kernel = np.zeros((0, 3, 4, 4), "float32"), np.ones((3, 3, 4, 2))
    outputs = deformable_conv2d(inputs, kernel, np.zeros((0, 3, 4, 18)))
    assert tuple(outputs.shape) == (0, 3, 4, 2)


def test_errors():
    inputs, kernel = np.zeros((1, 3, 4, 4), "float32"), np.ones((3, 3, 4, 2))
    with pytest.raises(ValueError, match=r"shape \(1, 3, 4, 18\) for inputs"):
        deformable_conv2d(inputs, kernel, np.zeros((1, 3, 4, 9), "float32"))
    with pytest.raises(ValueError, match=r"floating-point inputs.*int32"):
        deformable_conv2d(
            inputs.astype("int32"), kernel, np.zeros((1, 3, 4, 18))
        )


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="it has a compiled one"
)
def test_there_is_no_compiled_one(monkeypatch):
    monkeypatch.undo()  # what the other tests compute by
    inputs, kernel = np.zeros((1, 3, 4, 4), "float32"), np.ones((3, 3, 4, 2))
    with pytest.raises(ImportError, match="KERAS_BACKEND=tensorflow"):
        deformable_conv2d(
            inputs, kernel, np.zeros((1, 3, 4, 18)), implementation="native"
        )


@pytest.mark.skipif(not IS_TORCH, reason="of PyTorch")
def test_torchvision_computes_on_gpus_what_fits(monkeypatch):
    import torch

    monkeypatch.undo()  # what the other tests compute by
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    kernel = torch.zeros(3, 3, 32, 8)

    def chosen(device, rows, implementation="auto"):
        inputs = SimpleNamespace(shape=(1, rows, 999, 32), is_cuda=device)
        offset = SimpleNamespace(shape=(1, rows, 999, 18))
        return backend.compiled_convolution(
            implementation, inputs, kernel, offset
        )

    assert chosen(True, 900) is torchvision_op.deformable_conv2d
    assert chosen(True, 1000) is None  # its columns would have over 1 GiB
    assert chosen(False, 900) is None
    assert chosen(True, 900, "gather") is None
