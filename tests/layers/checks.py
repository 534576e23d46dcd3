"""What every layer has to hold."""

import keras
import numpy as np
import pytest
import tensorflow as tf

POLICIES = ("float32", "float64", "mixed_float16", "mixed_bfloat16")


def check_layer(build, input_shape, tmp_path, static_only=False):
    """Runs a layer in all its ways.

    Args:
        build: returns a new layer from keyword arguments of `Layer`.
        input_shape: of one image, `(height, width, channels)`.
        tmp_path: a folder for a saved model.
        static_only: whether the layer needs the height and width of its
            input, so that an unknown size is not tried.
    """
    for policy in POLICIES:
        check_policy(build(dtype=policy), input_shape)
    sizes = [input_shape]
    if not static_only:
        sizes.append((None, None, input_shape[-1]))
    for shape in sizes:
        check_saving(build(name="checked"), shape, input_shape, tmp_path)


def check_policy(layer, input_shape):
    """Shape, dtype, finite values, and gradients for all weights."""
    dtype = layer.compute_dtype
    inputs = tf.cast(tf.random.uniform((2, *input_shape)), dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=False)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
    assert outputs.dtype == dtype
    assert outputs.shape == layer.compute_output_shape(inputs.shape)
    assert np.isfinite(tf.cast(outputs, "float64")).all()
    gradients = tape.gradient(
        loss, [inputs, *(v.value for v in layer.trainable_variables)]
    )
    assert all(gradient is not None for gradient in gradients)
    for variable in layer.variables:
        assert variable.dtype == layer.variable_dtype


def check_saving(layer, shape, input_shape, tmp_path):
    """Symbolic use, configuration, and a `.keras` file that reloads."""
    inputs = keras.Input(shape)
    outputs = layer(inputs)
    inputs_array = np.random.default_rng(1).random((2, *input_shape), "float32")
    expected_shape = layer.compute_output_shape((None, *shape))
    assert outputs.shape == tuple(expected_shape)
    model = keras.Model(inputs, outputs)
    path = tmp_path / "layer.keras"
    model.save(path)
    reloaded = keras.models.load_model(path)
    assert reloaded.get_layer("checked").get_config() == layer.get_config()
    for compiled in (False, True):
        run = tf.function(reloaded) if compiled else reloaded
        np.testing.assert_allclose(
            run(inputs_array), model(inputs_array), rtol=1e-5, atol=1e-6
        )


def check_error(build, message):
    """`build` raises a ValueError that says `message`."""
    with pytest.raises(ValueError, match=message):
        build()
