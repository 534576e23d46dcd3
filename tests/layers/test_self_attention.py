import numpy as np
import pytest
import tensorflow as tf

from keras_radn.layers import SelfAttention
from keras_radn.layers import self_attention as self_attention_module
from tests.layers.checks import check_error
from tests.oracles import self_attention


def build(rng, channels=16, **kwargs):
    layer = SelfAttention(**kwargs)
    layer.build((None, None, None, channels))
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_equals_equations_5_and_6(rng, pool):
    layer = build(rng, pool_size=pool)
    features = rng.normal(size=(2, 4, 5, 16)).astype("float32")
    convs = (layer.key_conv, layer.query_conv, layer.value_conv)
    weights = [
        (kernel[0, 0], bias)
        for kernel, bias in (conv.get_weights() for conv in convs)
    ]
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
