"""Deblurring without TensorFlow: the function, the command, and errors."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_radn
from keras_radn import Deblurrer
from keras_radn.cli.main import main
from keras_radn.inference import deblurrer
from tests.backends import networks

OTHER = keras.backend.backend() != "tensorflow"
WITHOUT_TENSORFLOW = pytest.mark.skipif(
    not OTHER, reason="other tests do it with TensorFlow"
)


def python(*words, **variables):
    """Runs Python under the same backend; returns status, stdout, stderr."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        **variables,
    }
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
    )
    return process.returncode, process.stdout, process.stderr


def command(*words):
    return python("-m", "keras_radn", *words)


@pytest.mark.slow
def test_whole_images_and_tiles(tiny_radn):
    model = tiny_radn()
    image = networks.images("odd")[0]
    expected = model.predict(image[np.newaxis], verbose=0)[0].clip(0, 1)
    sharp = keras_radn.deblur(image, Deblurrer(model, dtype="float32"))
    np.testing.assert_allclose(sharp, expected, rtol=1e-4, atol=1e-4)
    calls = []
    Deblurrer(model, tile=64, overlap=0)(
        np.tile(image, (6, 2, 1)), lambda *done: calls.append(done)
    )
    assert calls[-1] == (2, 2)


def test_the_packaged_network_deblurs():
    image = networks.images("odd")[0]
    sharp = Deblurrer("lite", dtype="float32")(image)
    with np.load(networks.ANSWERS) as answers:
        expected = answers["packaged, odd"][0].clip(0, 1)
    np.testing.assert_allclose(sharp, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_another_dtype(tiny_radn):
    model = tiny_radn()
    image = networks.images("odd")[0]
    exact = Deblurrer(model, dtype="float32")(image)
    sharp = Deblurrer(model, dtype="bfloat16")(image)
    error = np.abs(sharp - exact).mean()
    assert 0 < error < 0.1 * np.abs(exact - image).mean()


def test_a_network_that_cannot_take_the_image():
    inputs = keras.Input((None, None, 3))
    shuffled = keras.layers.Reshape((16, 16, 3))(inputs)
    model = keras.Model(inputs, shuffled)
    with pytest.raises(ValueError, match="fails on an image of 5x4 pixels"):
        keras_radn.deblur(np.zeros((4, 5, 3), "float32"), model)


@pytest.mark.slow
def test_memory_is_full(tiny_radn, monkeypatch):
    """Whatever error the backend raises, smaller tiles are used."""
    model = tiny_radn()
    run = deblurrer.as_function(model)
    limit = 64 * 64

    def limited(image):
        if image.shape[0] * image.shape[1] > limit:
            raise MemoryError
        return run(image)

    monkeypatch.setattr(deblurrer, "as_function", lambda *_: limited)
    image = np.tile(networks.images("odd")[0], (7, 7, 1))
    with pytest.warns(RuntimeWarning, match="going on with"):
        sharp = Deblurrer(model, overlap=0)(image)
    assert sharp.shape == image.shape


@WITHOUT_TENSORFLOW
@pytest.mark.slow
def test_a_folder(tiny_radn, tmp_path):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    picture = np.rint(255 * networks.images("odd")[0]).astype("uint8")
    names = ["a.png", "deeper/b.png"]
    for name in names:
        Image.fromarray(picture).save(tmp_path / "in" / name)
    model = tiny_radn()
    model.save(tmp_path / "model.keras")
    status, out, err = command(
        *("deblur", tmp_path / "in", "-o", tmp_path / "out"),
        *("--model", tmp_path / "model.keras"),
    )
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 2
    expected = Deblurrer(model)(picture)
    for name in names:
        sharp = np.asarray(Image.open(tmp_path / "out" / name))
        assert np.abs(sharp.astype(int) - expected).max() <= 1


@WITHOUT_TENSORFLOW
@pytest.mark.slow
def test_information():
    status, out, err = command("info")
    assert (status, err) == (0, "")
    name = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
    assert f"{name[keras.backend.backend()]}:" in out
    assert "deformable op:" in out


@WITHOUT_TENSORFLOW
@pytest.mark.slow
def test_no_tensorflow_is_imported():
    status, out, err = python(
        "-c",
        "import sys, keras_radn\n"
        "from keras_radn.cli import main\n"
        "keras_radn.RADN, keras_radn.deblur\n"
        "print('tensorflow' in sys.modules)",
    )
    assert (status, out.strip(), err) == (0, "False", "")


TRAIN = ("train", "--config", "short", "--stills", ".", "-o", "run")


@WITHOUT_TENSORFLOW
@pytest.mark.parametrize(
    "words",
    [
        ["export", "--format", "litert", "-o", "network.tflite"],
        ["serve", "--model-base-path", "."],
        ["benchmark"],
        ["models"],
        ["build-ops"],
        [*TRAIN, "--workers", "2"],
        [*TRAIN, "--strategy", "mirrored"],
    ],
    ids=lambda words: words[0],
)
def test_what_needs_tensorflow_says_so(words, capsys):
    status = main(words)
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "needs TensorFlow" in err
    assert "KERAS_BACKEND=tensorflow" in err


@WITHOUT_TENSORFLOW
def test_the_inference_form_needs_tensorflow(tiny_radn):
    with pytest.raises(ImportError, match="needs TensorFlow"):
        keras_radn.inference_model(tiny_radn())
