import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, gather, library, native
from tests import oracles

CONFIGURATIONS = 36


@pytest.fixture(params=["native", "gather"], autouse=True)
def implementation(request, monkeypatch):
    """Runs the test with both implementations."""
    monkeypatch.setenv(library.VARIABLE, request.param)
    return request.param


def draw(seed, dtype="float64", size=7):
    """Draws the arrays and keyword arguments of a call."""
    rng = np.random.default_rng(seed)
    # Both orders of computation, all kinds of groups, masks, paddings.
    groups, offset_groups = [(1, 1), (2, 1), (1, 2), (2, 2)][seed % 4]
    filters = [2, 8][seed // 4 % 2]
    padding = ["same", "valid"][seed // 8 % 2]
    kernel_size = rng.integers(1, 4, 2)
    strides = tuple(map(int, rng.integers(1, 4, 2)))
    dilation = tuple(map(int, rng.integers(1, 4, 2)))
    height, width = rng.integers(size, size + 4, 2)
    batch, channels, taps = 2, 4, int(np.prod(kernel_size))
    out = []
    for s, k, t, d in zip(
        (height, width), kernel_size, strides, dilation, strict=True
    ):
        extent = (k - 1) * d + 1
        out.append(-(-s // t) if padding == "same" else (s - extent) // t + 1)
    arrays = [
        rng.normal(size=(batch, height, width, channels)),
        rng.normal(size=(*kernel_size, channels // groups, filters)),
        # Some samples are far outside.
        rng.normal(size=(batch, *out, 2 * offset_groups * taps))
        * rng.choice([0.5, 3, 30]),
    ]
    if rng.random() < 0.5:
        arrays.append(rng.random((batch, *out, offset_groups * taps)))
    # Non-contiguous in memory.
    arrays = [np.asfortranarray(array.astype(dtype)) for array in arrays]
    arguments = {
        "strides": strides,
        "padding": padding,
        "dilation_rate": dilation,
        "offset_groups": offset_groups,
    }
    return arrays, arguments


def gradients(call, arrays):
    """Returns the output and gradients of its sum of squares."""
    tensors = [tf.convert_to_tensor(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = call(*tensors)
        loss = tf.reduce_sum(outputs**2)
    return [outputs, *tape.gradient(loss, tensors)]


@pytest.fixture(params=[1, 2**23], ids=["rows", "whole"])
def chunk(request, monkeypatch):
    """Samples before projecting, in chunks of a row and all at once."""
    for module in (gather, native):
        monkeypatch.setattr(module, "_CHUNK_ELEMENTS", request.param)


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_equals_float64_loop(seed, chunk):
    arrays, arguments = draw(seed)
    outputs = deformable_conv2d(*arrays, **arguments)
    expected = oracles.deformable_conv2d(*arrays, **arguments)
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_equals_onnxruntime(seed):
    arrays, arguments = draw(seed, "float32")
    outputs = deformable_conv2d(*arrays, **arguments)
    expected = oracles.onnx_deform_conv(*arrays, **arguments)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_gradients_equal_finite_differences(seed, rng):
    """Each argument is moved along a random direction, in float64."""
    arrays, arguments = draw(seed)
    _, *analytic = gradients(
        lambda *a: deformable_conv2d(*a, **arguments), arrays
    )
    for i, gradient in enumerate(analytic):
        direction = rng.normal(size=arrays[i].shape)
        # Small enough to cross the kink at a pixel almost never.
        step = 1e-7
        losses = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = arrays[i] + sign * step * direction
            outputs = oracles.deformable_conv2d(*moved, **arguments)
            losses.append(np.sum(outputs**2))
        expected = (losses[0] - losses[1]) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(
            expected, rel=1e-5, abs=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "mode"),
    [
        *((seed, "unknown size") for seed in range(8)),
        # All kinds of groups, and both orders of computation.
        *((seed, "graph") for seed in (0, 3, 5, 6)),
    ],
)
def test_graphs_equal_eager(seed, mode, monkeypatch):
    for module in (gather, native):
        monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 500)  # a few chunks
    arrays, arguments = draw(seed)

    def call(*tensors):
        return gradients(lambda *a: deformable_conv2d(*a, **arguments), tensors)

    signature = None
    if mode == "unknown size":
        signature = [
            tf.TensorSpec(
                array.shape if i == 1 else [None] * 3 + [array.shape[3]],
                array.dtype,
            )
            for i, array in enumerate(arrays)
        ]
    compiled = tf.function(call, input_signature=signature)
    for actual, expected in zip(
        compiled(*map(tf.constant, arrays)), call(*arrays), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("filters", [3, 9], ids=["project", "sample"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_zero_offset_equals_convolution(filters, strides, padding, rng):
    inputs = rng.normal(size=(2, 12, 9, 6))
    kernel = rng.normal(size=(3, 3, 6, filters))
    expected = tf.nn.conv2d(inputs, kernel, strides, padding.upper())
    offset = np.zeros((*expected.shape[:3], 18))
    outputs = deformable_conv2d(
        inputs, kernel, offset, strides=strides, padding=padding
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        ("float64", 1e-14),
        ("float32", 2e-6),
        ("float16", 4e-3),
        ("bfloat16", 3e-2),
    ],
)
@pytest.mark.parametrize(
    ("seed", "mode"),
    [
        *((seed, "eager") for seed in range(0, CONFIGURATIONS, 5)),
        *((seed, "graph") for seed in range(0, CONFIGURATIONS, 15)),
    ],
)
def test_precision(dtype, tolerance, seed, mode):
    """Outputs and gradients equal those in float64 on rounded numbers."""
    arrays, arguments = draw(seed)
    # Offsets and mask keep their precision: what is measured is arithmetic.
    coordinates = "float64" if dtype == "float64" else "float32"
    cast = [
        tf.cast(array, coordinates if i >= 2 else dtype)
        for i, array in enumerate(arrays)
    ]
    exact = [tf.cast(tensor, "float64") for tensor in cast]

    def call(*tensors):
        return gradients(lambda *a: deformable_conv2d(*a, **arguments), tensors)

    actual = (tf.function(call) if mode == "graph" else call)(*cast)
    expected = call(*exact)
    loop = oracles.deformable_conv2d(*[x.numpy() for x in exact], **arguments)
    np.testing.assert_allclose(expected[0], loop, rtol=1e-9, atol=1e-9)
    assert actual[0].dtype == dtype
    for a, e in zip(actual, expected, strict=True):
        error = np.abs(tf.cast(a, "float64") - e).max()
        assert error <= tolerance * np.abs(e).max()


def test_double_inputs_keep_their_precision():
    """The offsets may be in single precision."""
    arrays, arguments = draw(0)
    arrays[2] = arrays[2].astype("float32").astype("float64")
    expected = oracles.deformable_conv2d(*arrays, **arguments)
    arrays[2] = arrays[2].astype("float32")
    outputs = deformable_conv2d(*arrays, **arguments)
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("filters", [2, 9], ids=["project", "sample"])
def test_samples_nowhere_are_zero(value, filters, rng):
    inputs = rng.normal(size=(1, 4, 5, 3)).astype("float32")
    kernel = np.ones((1, 1, 3, filters), "float32")
    offset = np.zeros((1, 4, 5, 2), "float32")
    offset[0, 1, 2, 0] = value
    outputs = deformable_conv2d(inputs, kernel, offset).numpy()
    expected = inputs.sum(axis=-1)
    expected[0, 1, 2] = 0
    np.testing.assert_allclose(outputs[..., 0], expected, rtol=1e-5)


def test_border_fades_over_one_pixel():
    inputs = np.ones((1, 1, 1, 1))
    kernel = np.ones((1, 1, 1, 1))
    for shift, expected in (
        (-1, 0),
        (-0.75, 0.25),
        (0, 1),
        (0.5, 0.5),
        (1, 0),
        (2, 0),
    ):
        offset = np.array([[[[shift, 0.0]]]])
        outputs = deformable_conv2d(inputs, kernel, offset)
        assert outputs.numpy().item() == pytest.approx(expected)


@pytest.mark.parametrize("filters", [4, 16])
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_empty_image(shape, filters, implementation):
    """Many filters are computed in chunks of rows."""
    kernel = tf.ones((3, 3, 8, filters))
    offset = tf.zeros((*shape, 18))
    with tf.GradientTape() as tape:
        tape.watch([kernel, offset])
        outputs = deformable_conv2d(
            np.zeros((*shape, 8)),
            kernel,
            offset,
            implementation=implementation,
        )
    assert outputs.shape == (*shape, filters)
    kernel_gradient, offset_gradient = tape.gradient(outputs, [kernel, offset])
    np.testing.assert_array_equal(kernel_gradient, tf.zeros_like(kernel))
    assert offset_gradient.shape == offset.shape


def test_empty_batch():
    outputs = deformable_conv2d(
        np.zeros((0, 5, 5, 4)), np.zeros((3, 3, 4, 2)), np.zeros((0, 5, 5, 18))
    )
    assert outputs.shape == (0, 5, 5, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((1, 5, 5, 4), "int32")}, "floating-point"),
        ({"inputs": np.zeros((5, 5, 4))}, "4 dimensions"),
        ({"kernel": np.zeros((3, 3, 3, 2))}, "divide the channels"),
        ({"kernel": np.zeros((3, 3, 2, 3))}, "2 groups"),
        ({"offset": np.zeros((1, 5, 5, 9))}, "must have the shape"),
        ({"offset": np.zeros((1, 4, 5, 18))}, "must have the shape"),
        ({"mask": np.zeros((1, 5, 5, 18))}, "must have the shape"),
        ({"strides": 0}, "positive integer"),
        ({"strides": (1, 2, 3)}, "positive integer"),
        ({"dilation_rate": 1.5}, "positive integer"),
        ({"padding": "full"}, '"same" or "valid"'),
        ({"offset_groups": 3}, "divide the channels"),
        ({"offset_groups": 0}, "integer of at least 1"),
        ({"kernel": np.zeros((3, 3, 0, 2))}, "may be 0"),
        ({"kernel": np.zeros((3, 3, 4, 0))}, "may be 0"),
        ({"kernel": np.zeros((0, 3, 4, 2))}, "may be 0"),
        ({"inputs": np.zeros((1, 5, 5, 0))}, "must have channels"),
        ({"padding": "valid", "dilation_rate": 3}, "at least"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "inputs": np.zeros((1, 5, 5, 4)),
        "kernel": np.zeros((3, 3, 4, 2)),
        "offset": np.zeros((1, 5, 5, 18)),
    }
    with pytest.raises(ValueError, match=message):
        deformable_conv2d(**{**arguments, **change})


def test_arguments_fit_together_unless_known(implementation):
    """Sizes that are unknown when the graph is built are checked in it."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 4]),
            tf.TensorSpec([None, None, None, 18]),
        ]
    )
    def call(inputs, offset):
        return deformable_conv2d(inputs, tf.zeros([3, 3, 4, 2]), offset)

    assert call(tf.zeros([2, 5, 6, 4]), tf.zeros([2, 5, 6, 18])).shape == (
        2,
        5,
        6,
        2,
    )
    if implementation == "native":
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"\[2,5,6,18\]. Received"
        ):
            call(tf.zeros([2, 5, 6, 4]), tf.zeros([2, 4, 6, 18]))


PEAK_MEMORY = """
import numpy as np
import tensorflow as tf
from keras_radn.ops import deformable_conv2d

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(l.split()[1]) for l in lines if l.startswith(key))

# TensorFlow's generators would leave freed memory that the call could use.
rng = np.random.default_rng(0)
inputs, kernel, offset = (
    tf.constant(rng.standard_normal(shape, "float32"))
    for shape in ([1, 180, 320, 256], [3, 3, 256, 32], [1, 180, 320, 18])
)
deformable_conv2d(inputs[:, :8, :8], kernel, offset[:, :8, :8])
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = status("VmRSS")
outputs = deformable_conv2d(inputs, kernel, offset)
assert outputs.shape == (1, 180, 320, 32)
print((status("VmHWM") - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory(implementation):
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY],
        capture_output=True,
        text=True,
        check=True,
    )
    pixels = 180 * 320 * 4 / 1024**2
    inputs, projection, outputs = (256 + 18) * pixels, 288 * pixels, 32 * pixels
    most = projection + outputs + 0.05 * (inputs + projection + outputs)
    if implementation == "gather":
        most = 500
    assert projection < float(done.stdout) < most
