import numpy as np
import pytest
import tensorflow as tf

from keras_radn.layers import SelfAttention
from keras_radn.layers import self_attention as self_attention_module
from keras_radn.layers.context_aggregation import window_averages
from tests.layers.checks import check_error
from tests.oracles import self_attention


def build(rng, channels=16, **kwargs):
    layer = SelfAttention(**kwargs)
    layer.build((None, None, None, channels))
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def weights_of(layer):
    convs = (layer.key_conv, layer.query_conv, layer.value_conv)
    return [
        (kernel[0, 0], bias)
        for kernel, bias in (conv.get_weights() for conv in convs)
    ]


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_equals_equations_5_and_6(rng, pool):
    layer = build(rng, pool_size=pool)
    features = rng.normal(size=(2, 4, 5, 16)).astype("float32")
    weights = weights_of(layer)
    expected = [self_attention(image, weights, pool) for image in features]
    np.testing.assert_allclose(layer(features), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        features + layer.residual(features), expected, rtol=1e-4, atol=1e-4
    )


def test_attention_of_a_position(rng):
    """Applying the rows of equation 5 gives equation 6."""
    layer = build(rng)
    features = rng.normal(size=(2, 3, 4, 16)).astype("float32")
    d = layer.value_conv(features)
    expected = layer.residual(features)
    for row, column in ((0, 0), (2, 1)):
        attention = layer.attention(features, (row, column))
        np.testing.assert_allclose(
            np.einsum("bhw,bhwc->bc", attention, d),
            expected[:, row, column],
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize(("window", "pool"), [(2, 1), (6, 1), (8, 2), (12, 3)])
def test_windows(rng, window, pool):
    layer = build(rng, pool_size=pool, window_size=window)
    traced = tf.function(layer, [tf.TensorSpec([None, None, None, 16])])
    weights = weights_of(layer)
    # Smaller than a window, of two blocks, with parts of blocks, and with one
    # key too few for a window.
    for height, width in ((3, 4), (8, 8), (9, 23), (1, 30), (7, 17)):
        features = rng.normal(size=(2, height, width, 16)).astype("float32")
        expected = np.array(
            [self_attention(image, weights, pool, window) for image in features]
        )
        for function in (layer, traced):
            np.testing.assert_allclose(
                function(features), expected, rtol=1e-3, atol=1e-3
            )
        row, column = height // 2, width - 1
        attention = layer.attention(features, (row, column))
        d = layer.value_conv(window_averages(features, pool))
        np.testing.assert_allclose(
            features[:, row, column] + np.einsum("bhw,bhwc->bc", attention, d),
            expected[:, row, column],
            rtol=1e-3,
            atol=1e-3,
        )


def test_windows_of_patches_hold_all_of_them(rng):
    """In training with patches of at most the window all positions count."""
    layer = build(rng)
    near = build(rng, window_size=6)
    near.set_weights(layer.get_weights())
    features = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    np.testing.assert_array_equal(near(features), layer(features))
    wider = rng.normal(size=(2, 6, 7, 16)).astype("float32")
    assert np.abs(near(wider) - layer(wider)).max() > 0.1


@pytest.mark.parametrize("window", [-4, 5, 6, 2.0])
def test_bad_window(window):
    check_error(
        lambda: SelfAttention(pool_size=2, window_size=window),
        "`window_size` must be",
    )


def test_starts_as_the_identity(rng):
    features = rng.normal(size=(1, 4, 5, 16)).astype("float32")
    np.testing.assert_array_equal(SelfAttention()(features), features)


def test_large_similarities_stay_finite_in_half_precision(rng):
    layer = SelfAttention(dtype="mixed_float16")
    features = tf.cast(100 * rng.normal(size=(1, 4, 5, 16)), "float16")
    layer.build(features.shape)
    layer.value_conv.kernel.assign(rng.normal(size=(1, 1, 16, 16)))
    assert np.isfinite(layer(features)).all()


@pytest.mark.slow
@pytest.mark.parametrize("elements", [1, 150, 400])
def test_chunks_change_nothing(rng, monkeypatch, elements):
    """Outputs, gradients and XLA agree with 20, 3 and 1 or 2 chunks."""
    layer = build(rng)
    features = tf.constant(rng.normal(size=(2, 4, 5, 16)), "float32")

    def results(function):
        with tf.GradientTape() as tape:
            tape.watch(features)
            loss = tf.reduce_sum(function(features) ** 2)
        return [function(features), tape.gradient(loss, features)]

    # In training there are no chunks.
    expected = results(lambda x: layer(x, training=True))
    monkeypatch.setattr(self_attention_module, "_CHUNK_ELEMENTS", elements)
    unknown = tf.TensorSpec([None, None, None, 16])
    for function in (
        layer,
        tf.function(layer, [unknown]),
        tf.function(layer, jit_compile=True),
    ):
        for a, b in zip(results(function), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("reduction", [0, -2, 1.5])
def test_bad_reduction(reduction):
    check_error(
        lambda: SelfAttention(reduction),
        "`reduction` must be an integer of at least 1",
    )


def test_too_few_channels():
    check_error(
        lambda: SelfAttention()(np.zeros((1, 2, 2, 4), "float32")),
        "at least 8 channels",
    )
