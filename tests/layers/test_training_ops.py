"""Layers as one compiled operation in training, and as Keras's operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_radn
from keras_radn import layers
from keras_radn.hooks import flatten_layers
from keras_radn.layers.conv2d_transpose import Conv2DTranspose
from keras_radn.ops import tracing
from tests.conftest import SMALL_RADN, randomize

LAYERS = {
    "DenseBlock": lambda **k: layers.DenseBlock(3, 4, momentum=0.7, **k),
    "DenseDeformableModule": lambda **k: layers.DenseDeformableModule(
        5, 2, 4, momentum=0.7, **k
    ),
    "Transition": lambda **k: layers.Transition(5, momentum=0.7, **k),
    "ContextAggregation": lambda **k: layers.ContextAggregation((4, 8), **k),
    "Conv2DTranspose": lambda **k: Conv2DTranspose(
        5, 4, 2, padding="same", use_bias=False, **k
    ),
}
OPS = {
    "DenseBlock": "KerasRadn>DenseBlockTraining",
    "DenseDeformableModule": "KerasRadn>DeformUnitsTraining",
    "Transition": "KerasRadn>ConvolutionTraining",
    "ContextAggregation": "KerasRadn>ContextTraining",
    "Conv2DTranspose": "KerasRadn>ConvolutionTraining",
}


def norms_of(layer):
    return [
        each
        for each in flatten_layers(layer)
        if isinstance(each, keras.layers.BatchNormalization)
    ]


def trained(layer, inputs, compiled):
    """Returns kinds of operations, and outputs, gradients and averages."""
    before = layer.get_weights()
    weights = [v.value for v in layer.trainable_variables]

    @tf.function
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
        return outputs, *tape.gradient(loss, [inputs, *weights])

    with tracing.options(training_ops=compiled):
        concrete = run.get_concrete_function(inputs)
        results = concrete(inputs)
    results = [np.asarray(tf.cast(r, "float64")) for r in results]
    results += [np.asarray(v) for v in layer.non_trainable_variables]
    layer.set_weights(before)
    return {op.type for op in concrete.graph.get_operations()}, results


def built(name, policy, frozen, shape):
    """Returns a layer with weights that do not depend on the policy."""
    keras.utils.set_random_seed(7)
    layer = LAYERS[name](dtype=policy)
    layer.build(shape)
    randomize(layer)
    for norm in norms_of(layer):
        norm.frozen = frozen
    return layer


def errors(results, expected):
    """Returns the relative errors, of what is small the absolute ones."""
    return [
        np.linalg.norm(a - b) / max(1, np.linalg.norm(b))
        for a, b in zip(results, expected, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_keras_operations(name, frozen, rng):
    inputs = tf.constant(rng.normal(size=(2, 7, 9, 6)), "float32")
    layer = built(name, "float32", frozen, inputs.shape)
    kinds, compiled = trained(layer, inputs, compiled=None)
    assert OPS[name] in kinds
    kinds, plain = trained(layer, inputs, compiled=False)
    assert OPS[name] not in kinds
    assert max(errors(compiled, plain)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_bfloat16_is_as_good_as_keras_operations(name, frozen, rng):
    """Rounding moves ReLUs and offsets, so both differ from each other."""
    inputs = tf.constant(rng.normal(size=(3, 24, 25, 6)), "bfloat16")
    exact = tf.cast(inputs, "float32")
    layer = built(name, "float32", frozen, inputs.shape)
    _, expected = trained(layer, exact, compiled=False)
    layer = built(name, "mixed_bfloat16", frozen, inputs.shape)
    kinds, compiled = trained(layer, inputs, compiled=None)
    assert OPS[name] in kinds
    _, plain = trained(layer, inputs, compiled=False)
    ours, theirs = errors(compiled, expected), errors(plain, expected)
    assert np.mean(ours) < 1.3 * np.mean(theirs)


def change(layer, what):
    """Makes a layer one that the operation does not know."""
    if what == "some are frozen":
        norms_of(layer)[0].frozen = True
    elif what == "not trainable":
        norms_of(layer)[0].trainable = False
    elif what == "synchronized":
        norms_of(layer)[0].synchronized = True


def kinds_in_training(layer, rng):
    """Returns the kinds of operations of a call in training."""
    inputs = tf.cast(rng.normal(size=(2, 4, 5, 6)), layer.compute_dtype)
    graph = tf.function(layer).get_concrete_function(inputs, training=True)
    return {op.type for op in graph.graph.get_operations()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["some are frozen", "not trainable", "synchronized"]
)
@pytest.mark.parametrize("name", ["DenseBlock", "DenseDeformableModule"])
def test_norms_that_the_operation_does_not_know(name, what, rng):
    layer = LAYERS[name]()
    layer.build((2, 4, 5, 6))
    change(layer, what)
    assert OPS[name] not in kinds_in_training(layer, rng)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["not trainable", "synchronized"])
def test_norms_that_a_convolution_does_not_know(what, rng):
    layer = LAYERS["Transition"]()
    layer.build((2, 4, 5, 6))
    change(layer, what)
    assert OPS["Transition"] not in kinds_in_training(layer, rng)
    layer = LAYERS["DenseDeformableModule"]()
    layer.build((2, 4, 5, 6))
    kind = "KerasRadn>ConvolutionTraining"
    assert kind in kinds_in_training(layer, rng)
    change(layer.reduction_norm, what)
    assert kind not in kinds_in_training(layer, rng)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_dtypes_that_the_operation_does_not_know(name, policy, rng):
    layer = LAYERS[name](dtype=policy)
    assert OPS[name] not in kinds_in_training(layer, rng)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"strides": 1},
        {"padding": "valid"},
        {"use_bias": True},
        {"output_padding": 1},
        {"dilation_rate": 2, "strides": 1},
    ],
)
def test_transposed_convolutions_that_the_operation_does_not_know(options, rng):
    known = {"kernel_size": 4, "strides": 2, "padding": "same"}
    options = {"filters": 5, "use_bias": False, **known, **options}
    inputs = tf.constant(rng.normal(size=(2, 4, 5, 6)), "float32")

    def outputs_of(kind, **kwargs):
        keras.utils.set_random_seed(7)
        try:
            return kind(**options)(inputs, **kwargs)
        except tf.errors.InvalidArgumentError:
            # Without oneDNN TensorFlow has no dilation on the CPU.
            assert options.get("dilation_rate") == 2
            return None

    expected = outputs_of(keras.layers.Conv2DTranspose)
    outputs = outputs_of(Conv2DTranspose, training=True)
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.slow
def test_an_activation_behind_a_transposed_convolution(rng):
    inputs = tf.constant(rng.normal(size=(2, 4, 5, 6)), "float32")
    layer = Conv2DTranspose(
        5, 4, 2, padding="same", use_bias=False, activation="relu"
    )
    np.testing.assert_allclose(
        layer(inputs, training=True), layer(inputs), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"filters": 2}, {"pool_sizes": ()}])
def test_contexts_that_the_operation_does_not_know(options, rng):
    layer = layers.ContextAggregation(**options)
    assert OPS["ContextAggregation"] not in kinds_in_training(layer, rng)


@pytest.mark.slow
def test_a_network_learns_as_with_keras_operations(rng):
    """The losses of some steps; weights differ by what rounding makes of it."""
    images = rng.random((2, 32, 32, 3), "float32")
    losses = []
    for compiled in (None, False):
        keras.utils.set_random_seed(3)
        model = keras_radn.RADN(**SMALL_RADN)
        model.compile(
            keras_radn.optimizers.ConvMuon(1e-3), loss="mean_squared_error"
        )
        with tracing.options(training_ops=compiled):
            history = model.fit(
                images, images**2, batch_size=2, epochs=6, verbose=0
            )
        losses.append(history.history["loss"])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=5e-3)
