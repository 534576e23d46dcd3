"""Keras's own `export` of models with layers of this package."""

import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

import keras_radn
from tests.conftest import SMALL_RADN, randomize

# Without the package, as TF-Serving loads it.
LOADED_ELSEWHERE = """
import sys
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], loaded.serve(images))
"""


@pytest.fixture(
    params=[
        "a user's model",
        pytest.param("a clone", marks=pytest.mark.nightly),
    ]
)
def model(request, tiny_radn):
    """A user's own model around layers and a network, or a cloned network."""
    network = tiny_radn(**SMALL_RADN, image_shape=(24, 32, 3))
    if request.param == "a clone":
        model = keras.models.clone_model(network)
    else:
        inputs = keras.Input((24, 32, 3), name="images")
        x = keras_radn.layers.DeformableConv2D(8, 3, implementation="native")(
            inputs
        )
        x = keras_radn.layers.SelfAttention(4, pool_size=2)(x)
        x = keras.layers.Conv2D(3, 3, padding="same")(x)
        model = keras.Model(inputs, keras.layers.ReLU()(network(x)))
    randomize(model)
    return model


@pytest.fixture
def images(rng):
    return rng.random((1, 24, 32, 3), "float32")


def assert_near(answer, expected, tolerance=1e-4):
    largest = np.abs(expected).max()
    np.testing.assert_allclose(
        answer, expected, rtol=0, atol=tolerance * largest
    )


@pytest.mark.slow
def test_saved_model(model, images, tmp_path):
    model.export(tmp_path / "model", verbose=False)
    np.save(tmp_path / "images.npy", images)
    subprocess.run(
        [
            *(sys.executable, "-c", LOADED_ELSEWHERE, tmp_path / "model"),
            *(tmp_path / "images.npy", tmp_path / "answer.npy"),
        ],
        check=True,
    )
    answer = np.load(tmp_path / "answer.npy")
    assert_near(answer, model(images))


@pytest.mark.slow
# They concern names of NumPy that Keras defines for tf2onnx.
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)
def test_onnx(model, images, tmp_path):
    path = tmp_path / "model.onnx"
    expected = model(images)  # Keras asks for a call before
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    [name] = [value.name for value in session.get_inputs()]
    [answer] = session.run(None, {name: images})
    assert_near(answer, expected, 2e-3)  # random weights are large


@pytest.mark.slow
def test_litert(model, images, tmp_path):
    path = tmp_path / "model.tflite"
    model.export(path, format="litert", verbose=False)
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    [name] = runner.get_input_details()
    [answer] = runner(**{name: images}).values()
    assert_near(answer, model(images), 2e-3)
