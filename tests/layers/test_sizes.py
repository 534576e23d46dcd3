"""Layers that change sizes: padding, cropping, space-to-depth, context."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn import layers
from keras_radn.layers.context_aggregation import window_averages
from tests import oracles
from tests.layers.checks import check_error


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 9), (5, 4), (16, 16)])
@pytest.mark.parametrize("known", [True, False])
def test_padding_equals_numpy_reflection(size, known, rng):
    images = rng.random((2, *size, 3), "float32")
    padding = [(0, -s % 8) for s in size]
    # NumPy reflects a side of one pixel by repeating it, as we do.
    expected = np.pad(images, [(0, 0), *padding, (0, 0)], mode="reflect")
    layer = layers.PadToMultiple(8)
    if not known:
        layer = tf.function(
            layer, input_signature=[tf.TensorSpec([None, None, None, 3])]
        )
    np.testing.assert_array_equal(layer(images), expected)


def test_crop_undoes_padding(tmp_path, rng):
    images = rng.random((2, 5, 7, 3), "float32")
    inputs = keras.Input((None, None, 3))
    padded = layers.PadToMultiple(8)(inputs)
    cropped = layers.CropLike()([padded, inputs])
    assert cropped.shape == (None, None, None, 3)
    model = keras.Model(inputs, cropped)
    model.save(tmp_path / "model.keras")
    for m in (model, keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(m(images), images)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_crop_keeps_the_dtype_of_the_image(dtype):
    tensor = tf.zeros((1, 8, 8, 3), dtype)
    cropped = layers.CropLike()([tensor, tf.zeros((1, 5, 7, 1))])
    assert cropped.dtype == dtype
    assert cropped.shape == (1, 5, 7, 3)


def test_space_to_depth_equals_numpy(rng):
    images = rng.random((2, 6, 8, 3), "float32")
    expected = images.reshape(2, 3, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5)
    np.testing.assert_array_equal(
        layers.SpaceToDepth(2)(images), expected.reshape(2, 3, 4, 12)
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_context_in_half_precision(policy, rng):
    """The windows have more numbers than bfloat16 can count."""
    images = rng.random((1, 64, 96, 3), "float32")
    reference = layers.ContextAggregation()
    expected = reference(images).numpy()
    layer = layers.ContextAggregation(dtype=policy)
    layer.build(images.shape)
    layer.set_weights(reference.get_weights())
    context = tf.cast(layer(images), "float32")
    np.testing.assert_allclose(context, expected, atol=0.02)


def test_context_equals_numpy_means(rng):
    """Far from its borders, each window gives its mean."""
    images = rng.random((1, 32, 64, 3), "float32")
    layer = layers.ContextAggregation((32,), 1)
    context = layer(images).numpy()
    np.testing.assert_array_equal(context[..., :3], images)
    kernel, bias = layer.convs[0].get_weights()
    windows = images[0].reshape(32, 2, 32, 3).mean(axis=(0, 2))
    projected = windows @ kernel[0, 0] + bias
    # Bilinear: constant up to a window's center, the mean between the two.
    np.testing.assert_allclose(
        context[0, :, :16, 3], np.full((32, 16), projected[0]), rtol=1e-4
    )
    between = context[0, :, 31:33, 3].mean()
    assert between == pytest.approx(projected.mean(), rel=1e-4)


def test_context_covers_partial_windows(rng):
    images = np.ones((1, 5, 3, 2), "float32")
    layer = layers.ContextAggregation((4, 32), 1)
    context = layer(images).numpy()
    assert context.shape == (1, 5, 3, 4)
    for scale, conv in enumerate(layer.convs):
        kernel, bias = conv.get_weights()
        np.testing.assert_allclose(
            context[..., 2 + scale], kernel.sum() + bias.item(), rtol=1e-5
        )


def average(images, size):
    """Averages windows from the first row and column on, in float64."""
    height, width = images.shape[1:3]
    rows = [
        [
            images[:, y : y + size, x : x + size].mean((1, 2), "float64")
            for x in range(0, width, size)
        ]
        for y in range(0, height, size)
    ]
    return np.array(rows).transpose(2, 0, 1, 3)


@pytest.mark.parametrize(
    "size", [(1, 1), (16, 48), (45, 64), (96, 33), (31, 90)]
)
@pytest.mark.parametrize(
    "mode", ["known", "unknown", pytest.param("xla", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        ("float64", 1e-6),  # the enlargement is float32
        ("float32", 1e-5),
        ("float16", 4e-3),
        ("bfloat16", 3e-2),
    ],
)
def test_context_equals_numpy_loop(size, mode, dtype, tolerance, rng):
    images = tf.cast(rng.random((2, *size, 3)), dtype)
    layer = layers.ContextAggregation((4, 6, 32), 2, dtype=dtype)
    layer.build(images.shape)
    call = layer
    if mode == "unknown":
        spec = tf.TensorSpec([None, None, None, 3], dtype)
        call = tf.function(layer, input_signature=[spec])
    elif mode == "xla":
        call = tf.function(layer, jit_compile=True)
    context = call(images)
    assert context.dtype == dtype
    array = tf.cast(images, "float64").numpy()
    expected = [array]
    for window, conv in zip(layer.pool_sizes, layer.convs, strict=True):
        kernel, bias = (tf.cast(w, "float64").numpy() for w in conv.weights)
        maps = average(array, window) @ kernel[0, 0] + bias
        maps = oracles.enlarge(maps, window)
        expected.append(maps[:, : size[0], : size[1]])
    np.testing.assert_allclose(
        tf.cast(context, "float64"),
        np.concatenate(expected, axis=-1),
        atol=tolerance,
    )


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("window", [3, 4, 32])
def test_whole_windows_are_as_they_were(window, known, rng):
    """They equal TensorFlow's pooling, used in training, to the bit."""
    images = tf.constant(rng.random((2, 96, 192, 5)), "float32")
    spec = [None, None, None, 5] if not known else images.shape
    run = tf.function(
        lambda x: window_averages(x, window), [tf.TensorSpec(spec)]
    )
    expected = tf.nn.avg_pool2d(images, window, window, "SAME")
    np.testing.assert_array_equal(run(images), expected)


@pytest.mark.parametrize("size", [(6, 5), (5, 6)])
def test_space_to_depth_of_an_odd_image(size):
    """The error is a ValueError even for arrays."""
    check_error(
        lambda: layers.SpaceToDepth(2)(np.zeros((1, *size, 3), "float32")),
        "multiples of the block size",
    )


def test_bad_arguments():
    check_error(lambda: layers.ContextAggregation((4, 0)), "pool_sizes")
    check_error(lambda: layers.ContextAggregation(filters=0), "filters")
    check_error(lambda: layers.SpaceToDepth(1), "at least 2")
    check_error(lambda: layers.PadToMultiple(0), "at least 1")
    check_error(
        lambda: layers.SpaceToDepth(2)(keras.Input((5, 4, 3))),
        "multiples of the block size",
    )
