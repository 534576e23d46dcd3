import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import fused, library
from tests import oracles

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
    """A tensor, and its values in float64."""
    tensor = tf.cast(array, dtype)
    return tensor, tf.cast(tensor, "float64").numpy()


def wide(dtype):
    return "float64" if dtype == "float64" else "float32"


@forms
@pytest.mark.parametrize("depths", [(1,), (16,), (3, 40, 17, 32), (7, 1)])
def test_concat_affine_relu(rng, native, dtype, depths):
    pairs = [
        rounded(rng.normal(size=(2, 3, 13, depth)), dtype) for depth in depths
    ]
    scale, offset = rng.normal(size=(2, sum(depths)))
    scale[0] = 0
    outputs = fused.concat_affine_relu(
        [tensor for tensor, _ in pairs],
        tf.constant(scale, wide(dtype)),
        tf.constant(offset, wide(dtype)),
        native,
    )
    inputs = np.concatenate([array for _, array in pairs], axis=-1)
    assert outputs.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(outputs, "float64"),
        np.maximum(inputs * scale + offset, 0),
        rtol=TOLERANCES[dtype],
        atol=TOLERANCES[dtype],
    )


def reconstruction(rng, dtype, shape=(2, 12, 20, 5), crop=(9, 17)):
    """Arguments of `reconstruct` without `native`, and the expected result."""
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


def test_not_a_number_and_empty_batches(rng):
    ops = library.load().ops
    nan = ops.keras_radn_concat_affine_relu(
        [tf.fill([1, 1, 1, 3], np.nan)], tf.ones(3), tf.ones(3)
    )
    assert np.isnan(nan).all()
    empty = ops.keras_radn_concat_affine_relu(
        [tf.zeros([0, 2, 2, 3])], tf.ones(3), tf.ones(3)
    )
    assert empty.shape == (0, 2, 2, 3)
    arguments, _ = reconstruction(rng, "float32")
    features, maps, sizes, kernel, bias, images = arguments
    empty = fused.reconstruct(
        features[:0],
        [m[:0] for m in maps],
        sizes,
        kernel,
        bias,
        images[:0],
        True,
    )
    assert empty.shape == (0, 9, 17, 3)


def test_inputs_stay_as_they_are(rng):
    """A graph may use them again, and the op may write into its input."""
    inputs = tf.constant(rng.normal(size=(1, 2, 2, 3)), "float32")
    before = inputs.numpy()

    @tf.function
    def function():
        x = inputs * 1
        y = fused.concat_affine_relu([x], tf.ones(3), tf.ones(3), True)
        return x + 0 * y, y

    np.testing.assert_allclose(function()[0], before)
    np.testing.assert_array_equal(inputs, before)


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
        y = ops.keras_radn_concat_affine_relu(
            [first, second], tf.ones(8), tf.ones(8)
        )
        assert y.shape.as_list() == [2, 4, None, 8]
        z = ops.keras_radn_reconstruct(
            y, [y], tf.ones([3, 3, 9, 3]), tf.ones(3), images, sizes=[2]
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


@pytest.mark.parametrize(
    ("shapes", "channels", "message"),
    [
        ([(1, 2, 3)], 3, "rank 4|4 dimensions"),
        ([(1, 2, 3, 4), (1, 2, 4, 4)], 8, "channels only|equal"),
        ([(1, 2, 3, 4)], 5, "must have the shape|equal"),
    ],
)
def test_concat_affine_relu_refuses_shapes(shapes, channels, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        fused.concat_affine_relu(
            [tf.zeros(s) for s in shapes],
            tf.ones(channels),
            tf.ones(channels),
            True,
        )
