import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What fails in tf2onnx fails the test; it would copy every graph to go on.
os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "False")

import keras_radn  # before Keras, so that TensorFlow says nothing

# isort: split
import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

# The whole architecture, small enough to be built in a moment.
TINY_RADN = {
    "encoder_units": (2, 2, 2),
    "growth_rate": 4,
    "stem_filters": 8,
    "transition_filters": (8, 16, 16),
    "decoder_filters": (8, 8, 8, 4),
    "deform_units": 2,
    "deform_growth_rate": 4,
}
# Every kind of layer once, for what takes long to trace.
SMALL_RADN = {**TINY_RADN, "encoder_units": (1, 1, 1), "deform_units": 1}


@pytest.fixture(autouse=True, scope="session")
def garbage():
    """Looks seldom for garbage among the old objects, never among modules."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], 100)


@pytest.fixture(autouse=True)
def seeded():
    """Resets all random generators before every test."""
    keras.utils.set_random_seed(7)


@pytest.fixture(autouse=True)
def own_convolutions():
    """Ends a command's choice, which programs of later tests would inherit."""
    name = "TF_ENABLE_ONEDNN_OPTS"
    chosen = os.environ.get(name)
    yield
    os.environ.pop(name, None)
    if chosen is not None:
        os.environ[name] = chosen


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def tiny_radn():
    """Builds tiny RADNs whose weights are all random, offsets included."""

    def build(**kwargs):
        model = keras_radn.RADN(**{**TINY_RADN, **kwargs})
        randomize(model)
        return model

    return build


@pytest.fixture(scope="session")
def photo():
    """A sharp photograph, uint8 (512, 512, 3)."""
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture
def pairs_folder(tmp_path, photo):
    """Two pairs whose blurred image is half as bright as the sharp one."""
    root = tmp_path / "pairs"
    for name, scale in (("blur", 2), ("sharp", 1)):
        (root / name).mkdir(parents=True)
        for i in range(2):
            crop = photo[64 * i : 64 * i + 48, 100:170] // scale
            Image.fromarray(crop).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def stills_folder(tmp_path, photo):
    root = tmp_path / "stills"
    root.mkdir()
    for i in range(2):
        crop = np.roll(photo, 50 * i, axis=1)[:200, :260]
        Image.fromarray(crop).save(root / f"{i}.jpg")
    return root


def randomize(model, scale=0.1):
    """Adds noise to all trainable weights, so that none is zero."""
    random = np.random.default_rng(3)
    for variable in model.trainable_variables:
        noise = random.normal(0, scale, variable.shape)
        variable.assign(variable + noise.astype(variable.dtype))
