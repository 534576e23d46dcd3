"""Checks that every layer has to pass."""

import keras
import numpy as np
import pytest

from tests.backends.gradients import gradients

POLICIES = ["float32", "mixed_float16", "mixed_bfloat16"]
# Elsewhere Keras does some of its operations in float32 then.
if keras.backend.backend() == "tensorflow":
    POLICIES.append("float64")


def check_layer(build, input_shape, tmp_path, static_only=False):
    """Runs all checks on a layer.

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
    """Checks shape, dtype, finite values, and gradients of all weights."""
    dtype = layer.compute_dtype
    inputs = keras.ops.cast(keras.random.uniform((2, *input_shape)), dtype)
    outputs = layer(inputs, training=False)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    expected = layer.compute_output_shape(inputs.shape)
    assert tuple(outputs.shape) == tuple(expected)
    outputs, taken = gradients(
        lambda inputs: layer(inputs, training=False),
        [inputs],
        layer.trainable_variables,
    )
    assert np.isfinite(outputs).all()
    assert all(gradient is not None for gradient in taken)
    for variable in layer.variables:
        assert variable.dtype == layer.variable_dtype


def check_saving(layer, shape, input_shape, tmp_path):
    """Checks symbolic use, the configuration, and a `.keras` file."""
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
    expected = keras.ops.convert_to_numpy(model(inputs_array))
    for run in (reloaded, reloaded.predict_on_batch):  # eagerly and compiled
        outputs = keras.ops.convert_to_numpy(run(inputs_array))
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def check_error(build, message):
    """Checks that `build` raises a ValueError with `message`."""
    with pytest.raises(ValueError, match=message):
        build()
