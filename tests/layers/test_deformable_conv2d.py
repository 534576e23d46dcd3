import keras
import numpy as np
import pytest

from keras_radn.layers import DeformableConv2D
from tests.backends.gradients import float64
from tests.layers.checks import check_error
from tests.oracles import deformable_conv2d


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"strides": 2},
        {"padding": "valid", "strides": (1, 2)},
        {"padding": "SAME", "strides": 2},
        {"padding": "Valid"},
        {"dilation_rate": (2, 1), "kernel_size": (3, 2)},
        {"groups": 3, "activation": "relu", "filters": 12},
    ],
)
def test_starts_as_a_convolution(arguments, rng):
    """With zero offsets it equals Conv2D with the same kernel and bias."""
    arguments = {"filters": 3, "kernel_size": 3, "padding": "same"} | arguments
    inputs = rng.normal(size=(2, 11, 8, 6)).astype("float32")
    deformable = DeformableConv2D(**arguments, bias_initializer="normal")
    outputs = float64(deformable(inputs))
    assert outputs.shape == deformable.compute_output_shape(inputs.shape)
    convolution = keras.layers.Conv2D(**arguments)
    convolution.build(inputs.shape)
    convolution.set_weights(deformable.get_weights()[:2])
    np.testing.assert_allclose(
        outputs, float64(convolution(inputs)), rtol=1e-5, atol=1e-5
    )


def test_is_regularized_and_constrained_as_a_convolution(rng):
    """At zero offsets, losses and the weights after a step are equal."""
    arguments = {
        "filters": 3,
        "kernel_size": 3,
        "padding": "same",
        "kernel_regularizer": keras.regularizers.L1L2(0.1, 0.2),
        "bias_regularizer": "l2",
        "activity_regularizer": keras.regularizers.L2(0.03),
        "kernel_constraint": keras.constraints.MaxNorm(0.1, axis=(0, 1, 2)),
        "bias_constraint": "non_neg",
    }
    deformable = DeformableConv2D(**arguments, bias_initializer="normal")
    deformable.offset_conv.trainable = False
    convolution = keras.layers.Conv2D(**arguments)
    images, targets = rng.normal(size=(2, 2, 6, 5, 4)).astype("float32")
    losses = []
    models = [
        keras.Sequential([keras.Input((6, 5, 4)), layer])
        for layer in (deformable, convolution)
    ]
    initial = deformable.get_weights()[:2]
    convolution.set_weights(initial)
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append(model.train_on_batch(images, targets[..., :3]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    config = keras.layers.Conv2D(**arguments).get_config()
    for name in arguments:
        assert deformable.get_config()[name] == config[name]
    for ours, theirs, before in zip(
        deformable.get_weights()[:2],
        convolution.get_weights(),
        initial,
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
        assert np.abs(theirs - before).max() > 1e-3
    norms = np.linalg.norm(float64(convolution.kernel).reshape(-1, 3), axis=0)
    np.testing.assert_allclose(norms, 0.1, rtol=1e-4)


def test_uses_estimated_offset_and_mask(rng):
    inputs = rng.normal(size=(1, 6, 5, 4)).astype("float32")
    layer = DeformableConv2D(2, modulated=True, offset_groups=2)
    layer.build(inputs.shape)
    kernel, bias = layer.offset_conv.get_weights()
    layer.offset_conv.set_weights(
        [rng.normal(0, 0.3, kernel.shape), rng.normal(0, 0.3, bias.shape)]
    )
    offset, mask = map(float64, layer.estimate_offset(inputs))
    assert offset.shape == (1, 6, 5, 36)
    assert mask.shape == (1, 6, 5, 18)
    assert np.abs(offset).max() > 1
    assert 0 < np.min(mask) < 0.5 < np.max(mask) < 1
    expected = deformable_conv2d(
        inputs,
        layer.kernel.numpy(),
        offset,
        mask,
        offset_groups=2,
    )
    outputs = float64(layer(inputs))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_offset_is_bounded(rng):
    inputs = rng.normal(size=(1, 6, 5, 4)).astype("float32")
    bounded, free = (
        DeformableConv2D(2, modulated=True, max_offset=bound)
        for bound in (0.5, None)
    )
    for layer in (bounded, free):
        layer.build(inputs.shape)
    random = [rng.normal(size=w.shape) for w in bounded.get_weights()]
    for layer in (bounded, free):
        layer.set_weights(random)
    offset, mask = map(float64, bounded.estimate_offset(inputs))
    expected, unchanged = map(float64, free.estimate_offset(inputs))
    assert np.abs(expected).max() > 2
    np.testing.assert_array_equal(offset, np.clip(expected, -0.5, 0.5))
    np.testing.assert_array_equal(mask, unchanged)


@pytest.mark.slow
def test_learns_where_to_look(rng):
    """The target is the input moved by two pixels; only offsets can learn."""
    inputs = keras.Input((None, None, 1))
    layer = DeformableConv2D(1, 1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    smooth = np.cumsum(rng.normal(size=(8, 16, 32, 1)), axis=2).astype(
        "float32"
    )
    moved = np.roll(smooth, -2, axis=2)
    before = model.evaluate(smooth, moved, verbose=0)
    model.fit(smooth, moved, epochs=60, verbose=0)
    assert model.evaluate(smooth, moved, verbose=0) < 0.5 * before


def test_bad_arguments():
    check_error(lambda: DeformableConv2D(3, groups=2), "divide `filters`")
    check_error(lambda: DeformableConv2D(3, kernel_size=0), "kernel_size")
    check_error(lambda: DeformableConv2D(3, max_offset=0), "max_offset")
    for padding in ("full", "causal", None):
        check_error(lambda p=padding: DeformableConv2D(3, padding=p), "padding")
    for name in ("filters", "groups", "offset_groups"):
        for value in (0, -1, 1.5):
            arguments = {"filters": 4, name: value}
            check_error(
                lambda a=arguments: DeformableConv2D(**a),
                f"`{name}` must be an integer of at least 1",
            )
    inputs = np.zeros((1, 4, 4, 3), "float32")
    check_error(lambda: DeformableConv2D(4, groups=2)(inputs), "groups=2")
    check_error(
        lambda: DeformableConv2D(4, offset_groups=2)(inputs), "offset_groups=2"
    )
