"""What layers compute, on the backend that Keras uses."""

import keras
import numpy as np
import pytest

from keras_radn import layers
from keras_radn.layers import self_attention
from tests import oracles
from tests.backends.gradients import float64, gradients


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (9, 6), (8, 16)])
def test_padding_mirrors_as_often_as_needed(size, rng):
    images = rng.random((2, *size, 3)).astype("float32")
    padded = float64(layers.PadToMultiple(8)(images))
    missing = [-side % 8 for side in size]
    edge = [(0, 0), *((0, m) for m in missing), (0, 0)]
    expected = np.pad(images, edge, "reflect")
    np.testing.assert_array_equal(padded, expected)
    cropped = layers.CropLike()([padded.astype("float32"), images])
    np.testing.assert_array_equal(float64(cropped), images)


def test_space_to_depth(rng):
    images = rng.random((1, 4, 6, 3)).astype("float32")
    outputs = float64(layers.SpaceToDepth(2)(images))
    for row, column in np.ndindex(2, 2):
        start = 3 * (2 * row + column)
        np.testing.assert_array_equal(
            outputs[..., start : start + 3], images[:, row::2, column::2]
        )


@pytest.mark.parametrize(("pool", "window"), [(1, 0), (2, 0), (1, 2), (2, 4)])
@pytest.mark.parametrize("size", [(4, 5), (1, 1)])
def test_equations_5_and_6(size, pool, window, rng):
    layer = layers.SelfAttention(2, pool_size=pool, window_size=window)
    features = rng.standard_normal((1, *size, 8)).astype("float32")
    layer.build(features.shape)
    for variable in layer.variables:
        variable.assign(0.5 * rng.standard_normal(variable.shape))
    weights = [
        (conv.kernel.numpy()[0, 0], conv.bias.numpy())
        for conv in (layer.key_conv, layer.query_conv, layer.value_conv)
    ]
    expected = oracles.self_attention(features[0], weights, pool, window)
    np.testing.assert_allclose(
        float64(layer(features))[0], expected, rtol=1e-4, atol=1e-5
    )


def test_attention_in_chunks(rng, monkeypatch):
    layer = layers.SelfAttention(2)
    features = rng.standard_normal((2, 7, 9, 8)).astype("float32")
    layer.build(features.shape)
    layer.value_conv.kernel.assign(rng.standard_normal((1, 1, 8, 8)))
    expected, expected_gradients = gradients(layer, [features])
    monkeypatch.setattr(self_attention, "_CHUNK_ELEMENTS", 1000)
    outputs, taken = gradients(layer, [features])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        taken[0], expected_gradients[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("size", [(16, 32), (13, 7), (1, 1)])
def test_context_aggregation(size, rng):
    """It equals window means, a 1x1 product and resizing in float64."""
    layer = layers.ContextAggregation((2, 4, 8), 2)
    features = rng.random((1, *size, 3)).astype("float32")
    outputs = float64(layer(features))
    expected = [features]
    for side, conv in zip(layer.pool_sizes, layer.convs, strict=True):
        kernel, bias = conv.get_weights()
        maps = oracles.windows(features[0].astype("float64"), side)
        maps = oracles.enlarge((maps @ kernel[0, 0] + bias)[np.newaxis], side)
        expected.append(maps[:, : size[0], : size[1]])
    np.testing.assert_allclose(
        outputs, np.concatenate(expected, axis=-1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_norm_in_training(frozen, rng):
    norm = layers.Transition(3).norm
    features = rng.normal(2, 3, (2, 5, 6, 4)).astype("float32")
    norm.build(features.shape)
    norm.frozen = frozen
    outputs = float64(norm(features, training=True))
    mean, variance = features.mean((0, 1, 2)), features.var((0, 1, 2))
    used = (0, 1) if frozen else (mean, variance)
    np.testing.assert_allclose(
        outputs,
        (features - used[0]) / np.sqrt(used[1] + norm.epsilon),
        rtol=1e-4,
        atol=1e-4,
    )
    kept = 1.0 if frozen else norm.momentum
    np.testing.assert_allclose(
        norm.moving_mean.numpy(), (1 - kept) * mean, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        norm.moving_variance.numpy(),
        kept + (1 - kept) * variance,
        rtol=1e-4,
    )


def test_layers_say_what_steers():
    layer = layers.DeformableConv2D(3)
    layer.build((None, None, None, 4))
    assert layer.offset_conv.kernel.steers
    assert not hasattr(layer.kernel, "steers")
    assert isinstance(layer.kernel, keras.Variable)
