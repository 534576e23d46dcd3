"""The fused batch norm, compared with Keras's; statistics over replicas."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn import layers
from keras_radn.layers.batch_normalization import BatchNormalization

# Steps of the dtype: results are rounded once, sums not at all.
TOLERANCES = {
    "float32": 1e-5,
    "float64": 1e-12,
    "mixed_float16": 2e-3,
    "bfloat16": 2e-2,
    "mixed_bfloat16": 2e-2,
}


def features(rng, shape=(2, 5, 6, 8)):
    """Returns channels whose means and deviations differ widely."""
    channels = np.arange(1, shape[-1] + 1)
    return (3 * channels + channels * rng.normal(size=shape)).astype("float32")


def pair_of_norms(input_shape, dtype, rng):
    """Builds our norm and Keras's, with the same random weights."""
    norms = [
        norm(momentum=0.7, epsilon=1.001e-5, dtype=dtype)
        for norm in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    weights = rng.uniform(0.5, 2, (4, input_shape[-1]))
    for norm in norms:
        norm.build(input_shape)
        norm.set_weights(list(weights))
    return norms


def called(norm, inputs, weight, known=True, training=True):
    """Returns outputs, gradients and averages after one call."""
    spec = tf.TensorSpec(inputs.shape if known else [None] * 3 + [8])

    @tf.function(input_signature=[spec])
    def run(inputs):
        inputs = tf.cast(inputs, norm.compute_dtype)
        variables = [norm.gamma.value, norm.beta.value]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = norm(inputs, training=training)
            loss = tf.reduce_sum(tf.cast(outputs, "float64") * weight)
        return outputs, *tape.gradient(loss, [inputs, *variables])

    results = [
        *run(tf.constant(inputs)),
        norm.moving_mean,
        norm.moving_variance,
    ]
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(r, "float64"))
        for r in results
    ]


def check_close(ours, theirs, dtype):
    for mine, expected in zip(ours, theirs, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            mine, expected, rtol=0, atol=TOLERANCES[dtype] * scale
        )


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_equals_keras_in_training(dtype, known, rng):
    inputs = features(rng)
    weight = rng.normal(size=inputs.shape)
    ours, theirs = (
        called(norm, inputs, weight, known)
        for norm in pair_of_norms(inputs.shape, dtype, rng)
    )
    check_close(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_frozen_equals_keras_outside_of_training(dtype, rng):
    inputs = features(rng)
    weight = rng.normal(size=inputs.shape)
    norm, reference = pair_of_norms(inputs.shape, dtype, rng)
    norm.frozen = True
    ours = called(norm, inputs, weight)
    theirs = called(reference, inputs, weight, training=False)
    check_close(ours, theirs, dtype)


def test_averages_equal_numpy_moments(rng):
    inputs = features(rng)
    norm = BatchNormalization(momentum=0.0)
    norm(inputs, training=True)
    np.testing.assert_allclose(
        norm.moving_mean, inputs.mean((0, 1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(
        norm.moving_variance, inputs.var((0, 1, 2)), rtol=1e-5
    )


def test_one_value_per_channel(rng):
    """The unbiased estimate of a variance is undefined here."""
    norm = BatchNormalization(momentum=0.0)
    outputs = norm(features(rng, (1, 1, 1, 8)), training=True)
    np.testing.assert_array_equal(outputs, np.zeros((1, 1, 1, 8)))
    np.testing.assert_array_equal(norm.moving_variance, np.zeros(8))


@pytest.mark.parametrize("frozen", [True, False])
def test_uses_the_averages_outside_of_training(frozen, rng):
    inputs = features(rng)
    norm, reference = pair_of_norms(inputs.shape, "float32", rng)
    norm.trainable = not frozen
    before = norm.get_weights()
    gamma, beta, mean, variance = before
    expected = gamma * (inputs - mean) / np.sqrt(variance + 1.001e-5) + beta
    np.testing.assert_allclose(
        norm(inputs, training=frozen), expected, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(norm.get_weights(), before)
    np.testing.assert_array_equal(
        norm(inputs, training=False), reference(inputs, training=False)
    )


@keras.saving.register_keras_serializable("tests")
class Norms(keras.layers.Layer):
    def __init__(self, norm):
        super().__init__()
        self.norms = [norm(name="first"), norm(name="second")]

    def build(self, input_shape):
        for norm in self.norms:
            norm.build(input_shape)

    def call(self, inputs):
        return self.norms[1](self.norms[0](inputs))


def test_reads_files_written_with_keras_norms(tmp_path, rng):
    models = [
        keras.Sequential([keras.Input((5, 6, 8)), Norms(norm)])
        for norm in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    values = [rng.random(w.shape, "float32") for w in models[0].weights]
    models[0].set_weights(values)
    models[0].save_weights(tmp_path / "model.weights.h5")
    models[1].load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(models[1].get_weights(), values)


@pytest.mark.slow
def test_synchronized_replicas_equal_the_joint_batch(tmp_path, rng):
    """Two replicas with unlike halves equal one with the whole batch."""
    inputs = features(rng, (4, 5, 6, 8))
    inputs[2:] += 10
    path = tmp_path / "inputs.npy"
    np.save(path, inputs)
    # The devices of a process cannot be divided once they are in use.
    subprocess.run(
        [sys.executable, "-m", "tests.layers.replicas", path], check=True
    )


def test_synchronization_is_kept_in_the_configuration():
    for layer in (layers.DenseBlock(1), layers.Transition(3)):
        config = layer.get_config()
        assert config["synchronized"] is False
        copy = type(layer).from_config({**config, "synchronized": True})
        assert copy.get_config()["synchronized"] is True
