"""Networks on a GPU: equal to the CPU, in half precision, and trained."""

import keras
import numpy as np
import pytest

import keras_radn
from tests.conftest import SMALL_RADN, TINY_RADN, randomize
from tests.gpu import devices

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def on_the_cpu(tmp_path_factory):
    """A network's weights, images, and the CPU's answer in float32."""
    folder = tmp_path_factory.mktemp("on_the_cpu")
    keras.utils.set_random_seed(7)
    model = keras_radn.RADN(**TINY_RADN, dtype="float32")
    randomize(model)
    model.save(folder / "model.keras")
    images = np.random.default_rng(7).random((1, 32, 48, 3), "float32")
    np.save(folder / "images.npy", images)
    devices.on_cpu(
        """
import sys
import keras, numpy as np
import keras_radn
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
outputs = model(np.load(folder + "/images.npy"))
np.save(folder + "/outputs.npy", keras.ops.convert_to_numpy(outputs))
""",
        folder,
    )
    return model.get_weights(), images, np.load(folder / "outputs.npy")


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float32", 1e-4), ("mixed_float16", 0.02), ("mixed_bfloat16", 0.1)],
)
def test_equals_the_cpu(policy, tolerance, on_the_cpu, kind):
    """Differences are small beside the network's change to the images."""
    weights, images, expected = on_the_cpu
    model = keras_radn.RADN(**TINY_RADN, dtype=policy)
    model.set_weights(weights)
    outputs = model(images)
    assert devices.kind_of(outputs) == kind
    error = np.abs(keras.ops.convert_to_numpy(outputs) - expected).max()
    assert error < tolerance * np.abs(expected - images).max()


def test_compiled(on_the_cpu, monkeypatch):
    """XLA, which cannot take the compiled op, gives the same answer."""
    monkeypatch.setenv("KERAS_RADN_IMPLEMENTATION", "gather")
    weights, images, expected = on_the_cpu
    model = keras_radn.RADN(**TINY_RADN, dtype="float32")
    model.set_weights(weights)
    model.compile(jit_compile=True)
    np.testing.assert_allclose(
        model.predict(images, verbose=0), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("policy", "jit"), [("float32", False), ("mixed_bfloat16", True)]
)
def test_fit(policy, jit, monkeypatch):
    if jit:
        monkeypatch.setenv("KERAS_RADN_IMPLEMENTATION", "gather")
    model = keras_radn.RADN(**SMALL_RADN, dtype=policy)
    randomize(model)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="mae", jit_compile=jit
    )
    blurred = np.random.default_rng(1).random((4, 32, 32, 3), "float32")
    history = model.fit(
        blurred, blurred * 0.9, batch_size=2, epochs=5, verbose=0
    )
    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_layer_in_another_model(kind):
    inputs = keras.Input((24, 32, 4))
    outputs = keras_radn.layers.DeformableConv2D(8, 3)(inputs)
    model = keras.Model(inputs, outputs)
    batch = np.random.default_rng(2).random((2, 24, 32, 4), "float32")
    answer = model(batch)
    assert devices.kind_of(answer) == kind
    assert tuple(answer.shape) == (2, 24, 32, 8)


def test_photograph(photo, tmp_path):
    """After rounding to 8 bits, the packaged network agrees with the CPU."""
    crop = photo[64:320, 128:448]
    np.save(tmp_path / "crop.npy", crop)
    devices.on_cpu(
        """
import sys
import numpy as np
import keras_radn
folder = sys.argv[1]
crop = np.load(folder + "/crop.npy")
np.save(folder + "/sharp.npy", keras_radn.Deblurrer(dtype="float32")(crop))
""",
        tmp_path,
    )
    expected = np.load(tmp_path / "sharp.npy").astype(int)
    actual = keras_radn.Deblurrer(dtype="float32")(crop).astype(int)
    assert np.abs(expected - crop).max() > 10  # something was done
    assert np.abs(actual - expected).max() <= 1
