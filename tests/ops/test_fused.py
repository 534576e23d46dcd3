import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import fused, library
from tests import oracles
from tests.ops import fuzz

TOLERANCES = {
    "float64": 1e-12,
    "float32": 1e-5,
    "float16": 2e-3,
    "bfloat16": 1e-2,
}
SIZES = (2, 4, 8)

# TensorFlow's ops know two of the dtypes.
forms = pytest.mark.parametrize(
    ("native", "dtype"),
    [(True, dtype) for dtype in TOLERANCES]
    + [(False, "float32"), (False, "bfloat16")],
)


def rounded(array, dtype):
    """Returns a tensor, and its values in float64."""
    tensor = tf.cast(array, dtype)
    return tensor, tf.cast(tensor, "float64").numpy()


def wide(dtype):
    return "float64" if dtype == "float64" else "float32"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("batch", "size", "depths", "filters"),
    [
        (1, (9, 13), (32, 16, 16), 64),
        (2, (5, 30), (33, 1, 40), 7),  # odd channels, half vectors
        (1, (1, 1), (3, 5), 2),
    ],
)
def test_equals_tensorflow(rng, dtype, batch, size, depths, filters):
    calls = fuzz.fused_calls(rng, dtype, batch, size, depths, filters)
    assert fuzz.differences(calls, dtype) is None


def test_empty_batches(rng):
    calls = fuzz.fused_calls(rng, "float32", 0, (2, 3), (4, 5), 6)
    shapes = {name: call(native=True).shape for name, call in calls.items()}
    assert shapes["dense_block"] == (0, 2, 3, 9)
    assert shapes["deform_units of parts"] == (0, 2, 3, 15)
    assert shapes["deconvolution"] == (0, 4, 6, 6)
    assert all(shape[0] == 0 for shape in shapes.values())


def test_bits_do_not_depend_on_the_batch(rng):
    calls = fuzz.fused_calls(rng, "bfloat16", 2, (5, 14), (24, 16), 20)

    def second(value):
        is_batch = tf.is_tensor(value) and value.shape[0] == 2
        return value[1:] if is_batch else value

    for name, call in calls.items():
        alone = call.func(
            *tf.nest.map_structure(second, call.args), native=True
        )
        both = call(native=True)
        assert both.shape[0] == 2
        assert np.array_equal(both[1:], alone), name


def test_wide_images_are_done_in_pieces(rng):
    """Three lines of all columns would not fit into the cache."""
    x = tf.cast(rng.normal(size=(1, 4, 700, 130)), "float32")
    kernel = rng.normal(size=(3, 3, 130, 1))
    outputs = fused.convolution(x, kernel, native=True)
    np.testing.assert_allclose(
        outputs, oracles.conv3x3(x.numpy(), kernel), atol=1e-3
    )


def reconstruction(rng, dtype, shape=(2, 12, 20, 5), crop=(9, 17)):
    """Returns arguments of `reconstruct` and the expected result."""
    batch, height, width, channels = shape
    features, array = rounded(rng.normal(size=shape), dtype)
    maps = [
        rng.normal(size=(batch, -(-height // s), -(-width // s), 1))
        for s in SIZES
    ]
    kernel = rng.normal(size=(3, 3, channels + len(SIZES), 3))
    bias, images = rng.normal(size=3), rng.random((batch, *crop, 3))
    enlarged = [
        oracles.enlarge(m, s)[:, :height, :width]
        for m, s in zip(maps, SIZES, strict=True)
    ]
    everything = np.concatenate([array, *enlarged], axis=-1)
    residual = oracles.conv3x3(everything, kernel) + bias
    kind = wide(dtype)
    arguments = (
        features,
        [tf.constant(m, kind) for m in maps],
        SIZES,
        *(tf.constant(x, kind) for x in (kernel, bias, images)),
    )
    return arguments, images + residual[:, : crop[0], : crop[1]]


@forms
@pytest.mark.parametrize(
    ("shape", "crop"),
    [
        ((2, 12, 20, 5), (9, 17)),
        ((1, 32, 48, 16), (32, 48)),
        ((1, 1, 1, 1), (1, 1)),
        ((3, 8, 8, 37), (1, 8)),
    ],
)
def test_reconstruct(rng, native, dtype, shape, crop):
    arguments, expected = reconstruction(rng, dtype, shape, crop)
    outputs = fused.reconstruct(*arguments, native)
    # Features are exact; all else is computed in float32.
    tolerance = max(1e-4 if dtype != "float64" else 0, 1e-12)
    np.testing.assert_allclose(outputs, expected, atol=tolerance)


def test_not_a_number():
    x = tf.fill([1, 1, 1, 3], np.nan)
    for relu in (True, False):
        y = fused.convolution(x, np.ones((1, 1, 3, 2)), relu=relu, native=True)
        assert np.isnan(y).all()


def test_shapes_of_graphs():
    ops = library.load().ops

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4, None, 3]),
            tf.TensorSpec([2, None, None, 5]),
            tf.TensorSpec([2, None, 7, 3]),
        ]
    )
    def function(first, second, images):
        x = fused.deconvolution(
            [first, second], np.ones((4, 4, 6, 8)), np.ones(6), True
        )
        assert x.shape.as_list() == [None, 8, None, 6]
        unit = fused.DenseUnit(
            *np.ones((2, 3)),
            np.ones((1, 1, 3, 2)),
            np.ones(2),
            np.ones((3, 3, 2, 4)),
        )
        y = fused.dense_block(first, [unit], True)
        assert y.shape.as_list() == [None, 4, None, 7]
        unit = fused.DeformUnit(
            np.ones((3, 3, 8, 18)),
            np.ones(18),
            np.ones((3, 3, 8, 2)),
            np.ones(2),
        )
        y = fused.deform_units([first, second], [unit], 1.0, True)
        assert y.shape.as_list() == [None, 4, None, 10]
        y = fused.convolution(y, np.ones((1, 1, 10, 9)), native=True)
        assert y.shape.as_list() == [None, 4, None, 9]
        z = ops.keras_radn_reconstruct(
            y, [y], tf.ones([3, 3, 10, 3]), tf.ones(3), images, sizes=[2]
        )
        assert z.shape.as_list() == [2, None, 7, 3]
        return y

    function.get_concrete_function()


@pytest.mark.parametrize(
    ("position", "shape", "message"),
    [
        (0, (2, 12, 20), "4 dimensions"),
        (0, (1, 12, 20, 5), "images must have the shape"),
        (0, (2, 8, 20, 5), "images must have the shape"),
        (1, (2, 6, 9, 1), "context must have the shape"),
        (3, (3, 3, 5, 3), "kernel must have the shape"),
        (4, (4,), "bias must have the shape"),
        (5, (2, 9, 17, 4), "images must have the shape"),
    ],
)
def test_reconstruct_refuses_shapes(rng, position, shape, message):
    arguments = list(reconstruction(rng, "float32")[0])
    zeros = tf.zeros(shape)
    if position == 1:
        arguments[1] = [zeros, *arguments[1][1:]]
    else:
        arguments[position] = zeros
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        fused.reconstruct(*arguments, True)


@pytest.mark.parametrize("sizes", [(2, 4), (2, 4, 7), (2, 4, 0)])
def test_reconstruct_refuses_sizes(rng, sizes):
    features, maps, _, *rest = reconstruction(rng, "float32")[0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="size"):
        fused.reconstruct(features, maps, sizes, *rest, True)


X = (1, 2, 3, 4)
UNIT = ([(4,)], [(4,)], [(1, 1, 4, 5)], [(5,)], [(3, 3, 5, 2)])
DEFORM = ([X], [(3, 3, 4, 18)], (18,), [(1, 1, 4, 45)], [(5,)])


@pytest.mark.parametrize(
    ("op", "arguments", "position", "shape", "message"),
    [
        ("dense_block", (X, *UNIT), 0, (1, 2, 3), "features must have 4 dim"),
        ("dense_block", (X, *UNIT), 0, (1, 2, 3, 0), "and some channels"),
        ("dense_block", (X, *UNIT), 1, [(5,)], "scale must have the shape"),
        ("dense_block", (X, *UNIT), 2, [(3,)], "offset must have the shape"),
        ("dense_block", (X, *UNIT), 3, [(3, 3, 4, 5)], "kernel must have"),
        ("dense_block", (X, *UNIT), 4, [(5, 1)], "bias must have the shape"),
        ("dense_block", (X, *UNIT), 5, [(3, 3, 4, 2)], "growth_kernel must"),
        ("deform_units", DEFORM, 0, [X, (1, 2, 2, 4)], "channels only"),
        ("deform_units", DEFORM, 1, [(3, 3, 4, 9)], "offset_kernel must have"),
        ("deform_units", DEFORM, 2, (9,), "offset_bias must have the shape"),
        ("deform_units", DEFORM, 3, [(1, 1, 4, 9)], "projection must have"),
        ("deform_units", DEFORM, 4, [(5, 1)], "bias must have the shape"),
        ("fused_convolution", (X, (3, 3, 4, 5), [], []), 0, (2,), "features"),
        ("fused_convolution", (X, X, [], []), 1, (5, 5, 4, 2), "kernel must"),
        ("fused_convolution", (X, X, [], []), 1, (4, 5), "kernel must have"),
        ("fused_convolution", (X, X, [], []), 2, [(4,)], "a scale and an off"),
        (
            "fused_convolution",
            (X, (1, 1, 4, 5), [], []),
            3,
            [(4,)],
            "bias must have the shape",
        ),
        ("fused_deconvolution", ([X], X, (5,)), 1, (3, 3, 5, 4), "kernel must"),
        ("fused_deconvolution", ([X], X, (5,)), 0, [(1, 2)], "4 dimensions"),
        ("attention", (X, X, X, X), 1, (1, 2, 3, 2), "queries must have"),
        ("attention", (X, X, X, X), 2, (1, 2, 3, 0), "some channels"),
        ("attention", (X, X, X, X), 3, (1, 2, 3, 2), "values must have"),
    ],
)
def test_refuses(op, arguments, position, shape, message):
    def ones(shape):
        make = ones if isinstance(shape, list) else tf.ones
        return [make(s) for s in shape] if make is ones else make(shape)

    arguments = [ones(s) for s in arguments]
    arguments[position] = ones(shape)
    attributes = {
        "fused_convolution": {"relu": True},
        "deform_units": {"max_offset": 1.0},
    }
    function = getattr(library.load().ops, f"keras_radn_{op}")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(*arguments, **attributes.get(op, {}))


@pytest.mark.parametrize(
    ("window", "message"),
    [(4, "multiple of twice the pool_size"), (6, "keys must be the pixels")],
)
def test_refuses_windows(window, message):
    x = tf.ones(X)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        fused.attention(x, x, x, x, window, 3)
