"""Layers that change the size: padding, cropping, space-to-depth, context."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn import layers
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


def test_context_equals_numpy_means(rng):
    """Each scale is the mean of its window, far from the windows' borders."""
    images = rng.random((1, 32, 64, 3), "float32")
    layer = layers.ContextAggregation((32,), 1)
    context = layer(images).numpy()
    np.testing.assert_array_equal(context[..., :3], images)
    kernel, bias = layer.convs[0].get_weights()
    windows = images[0].reshape(32, 2, 32, 3).mean(axis=(0, 2))
    projected = windows @ kernel[0, 0] + bias
    # Bilinear: constant up to a window's centre, the mean between the two.
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


def test_bad_arguments():
    check_error(lambda: layers.SpaceToDepth(1), "at least 2")
    check_error(lambda: layers.PadToMultiple(0), "at least 1")
    check_error(
        lambda: layers.SpaceToDepth(2)(keras.Input((5, 4, 3))),
        "multiples of the block size",
    )
