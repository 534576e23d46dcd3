"""Networks as parts of other layers and models, and in other recipes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_radn import RADN, inference_model
from keras_radn.models.packaged_weights import write_weights
from tests.conftest import SMALL_RADN, TINY_RADN


class Wrapper(keras.layers.Layer):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def call(self, inputs):
        return self.network(inputs)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [Wrapper, keras.layers.TimeDistributed])
def test_the_outer_model_has_its_own_loss_and_metrics(wrap, tiny_radn, rng):
    network = tiny_radn()
    outer = keras.Sequential([wrap(network)])
    outer.compile("sgd", lambda y, x: 7.0 + 0 * ops.mean(x, axis=(-3, -2, -1)))
    frames = rng.random((2, 3, 16, 16, 3), "float32")
    images = frames if wrap is keras.layers.TimeDistributed else frames[:, 0]
    history = outer.fit(images, images, verbose=0).history
    assert history == {"loss": [7.0]}


@pytest.mark.slow
def test_another_recipe_has_no_metric_of_the_paper_s(tiny_radn, rng):
    """Targets have four channels, the last one a weight."""
    model = tiny_radn()
    model.compile(
        "adam",
        loss=lambda y, x: ops.mean(ops.abs(y[..., :3] - x) * y[..., 3:], -1),
    )
    images = rng.random((2, 16, 16, 3), "float32")
    targets = np.concatenate([images, images[..., :1]], axis=-1)
    assert set(model.fit(images, targets, verbose=0).history) == {"loss"}


class BuiltLater(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(name="later")
        self.kwargs = kwargs

    def build(self, input_shape):
        self.network = RADN(**TINY_RADN, **self.kwargs)

    def call(self, inputs):
        return self.network(inputs)


@pytest.mark.slow
def test_a_network_that_is_made_in_the_build_of_a_layer(
    tiny_radn, tmp_path, rng
):
    """Its paths begin with the layer's name; those in files do not."""
    images = rng.random((1, 16, 16, 3), "float32")
    source = tiny_radn()
    write_weights(source, tmp_path / "weights.npz")
    expected = RADN(**TINY_RADN, pretrained=tmp_path / "weights.npz")(images)
    layer = BuiltLater(pretrained=tmp_path / "weights.npz")
    np.testing.assert_array_equal(layer(images), expected)
    network = layer.network
    assert network.variables[0].path.startswith("later/")

    write_weights(network, tmp_path / "again.npz")
    again = RADN(**TINY_RADN, pretrained=tmp_path / "again.npz")
    np.testing.assert_array_equal(again(images), expected)
    np.testing.assert_allclose(
        inference_model(network)(images), expected, rtol=1e-4, atol=1e-4
    )

    network.get_layer("encoder_block1").trainable = False
    trainable = len(network.trainable_variables)
    network.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert not copy.get_layer("encoder_block1").trainable
    assert len(copy.trainable_variables) == trainable


FRESH_PROCESS = """
import sys
import numpy as np, tensorflow as tf
arrays = np.load(sys.argv[1] + "/arrays.npz")
loaded = tf.saved_model.load(sys.argv[1] + "/exported")
assert "keras_radn" not in sys.modules
np.testing.assert_allclose(
    loaded.serve(arrays["images"]), arrays["outputs"], rtol=1e-5, atol=1e-5
)
"""


@pytest.mark.slow
def test_keras_s_own_export_has_no_op_of_the_package(tiny_radn, tmp_path, rng):
    model = tiny_radn(**SMALL_RADN)
    images = rng.random((2, 17, 30, 3), "float32")
    model.export(tmp_path / "exported", verbose=False)
    np.savez(tmp_path / "arrays.npz", images=images, outputs=model(images))
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, tmp_path], check=True)


@pytest.mark.slow
def test_tensorflow_checkpoints_hold_all_weights(tiny_radn, tmp_path):
    model, other = tiny_radn(), RADN(**TINY_RADN)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    saved = [name for name, _ in tf.train.list_variables(path)]
    assert (
        sum("VARIABLE_VALUE" in name for name in saved)
        == len(model.variables) + 1
    )  # the counter of checkpoints
    status = tf.train.Checkpoint(model=other).restore(path)
    status.assert_existing_objects_matched()
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_refused(tiny_radn, channels):
    images = np.zeros((1, 16, 16, channels), "float32")
    for call in (tiny_radn(), tiny_radn(image_shape=(16, 16, 3))):
        with pytest.raises(ValueError, match=f"have value 3|16, {channels}"):
            call(images)
