import numpy as np
import pytest
import tensorflow as tf

from keras_radn.models import grow

LARGER = [
    {"encoder_units": (3, 4, 2)},
    {"growth_rate": 6},
    {"stem_filters": 11},
    {"transition_filters": (9, 24, 40)},
    {"decoder_filters": (12, 9, 8, 7)},
    {"deform_units": 3},
    {"deform_growth_rate": 7},
    {
        "encoder_units": (3, 2, 4),
        "growth_rate": 8,
        "stem_filters": 16,
        "transition_filters": (16, 24, 32),
        "decoder_filters": (16, 16, 8, 8),
        "deform_units": 4,
        "deform_growth_rate": 8,
    },
]


def with_statistics(model, rng):
    for variable in model.non_trainable_variables:
        if variable.path.endswith("moving_mean"):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        elif variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 2, variable.shape))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("arguments", LARGER, ids=lambda a: "-".join(a))
def test_computes_the_same(tiny_radn, rng, arguments):
    model = with_statistics(tiny_radn(attention_pool=2), rng)
    grown = grow(model, **arguments)
    assert grown.count_params() > model.count_params()
    images = rng.random((1, 37, 50, 3), "float32")
    expected = model(images).numpy()
    residual = np.abs(expected - images).max()
    assert residual > 0.1
    np.testing.assert_allclose(grown(images), expected, atol=1e-5 * residual)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        {"decoder_block": "dense", "attention": False},
        {"decoder_block": "bottleneck", "stem_pool": True},
    ],
    ids=str,
)
def test_other_variants(tiny_radn, rng, variant):
    model = with_statistics(tiny_radn(**variant), rng)
    images = rng.random((1, 37, 50, 3), "float32")
    expected = model(images).numpy()
    residual = np.abs(expected - images).max()
    grown = grow(model, **LARGER[-1])
    np.testing.assert_allclose(grown(images), expected, atol=1e-5 * residual)


@pytest.mark.slow
def test_new_parts_learn(tiny_radn, rng):
    """All new weights have gradients, unless they wait for other zeros."""
    grown = grow(tiny_radn(), encoder_units=(3, 3, 3), deform_units=3)
    images = rng.random((2, 32, 32, 3), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((grown(images, training=True) - images) ** 2)
    kernels = [
        grown.get_layer(f"encoder_transition{i}").conv.kernel for i in (1, 2, 3)
    ] + [grown.get_layer(f"decoder_block{i}").reduction.kernel for i in (1, 2)]
    for gradient in tape.gradient(loss, [k.value for k in kernels]):
        rows = np.abs(gradient.numpy()[0, 0]).max(axis=1)
        assert (rows[-4:] > 0).any()  # those of the new unit


@pytest.mark.slow
def test_refuses(tiny_radn):
    model = tiny_radn()
    with pytest.raises(ValueError, match=r"`deform_units` must not be smaller"):
        grow(model, deform_units=1)
    with pytest.raises(ValueError, match=r"must not be smaller.*\(2, 1, 2\)"):
        grow(model, encoder_units=(2, 1, 2))
    with pytest.raises(ValueError, match="another `attention`"):
        grow(model, attention=False)
