import keras
import numpy as np
import pytest

from keras_radn import RADN
from keras_radn.datasets.blur_synthesis import blur_scene
from tests.conftest import SMALL_RADN, randomize


def build(**kwargs):
    """Builds a network that changes pictures, with weights of trained size."""
    model = RADN(**{**SMALL_RADN, **kwargs})
    randomize(model, 0.02)
    # Statistics that are not those of a new layer, and let no layer die.
    random = np.random.default_rng(5)
    for variable in model.non_trainable_variables:
        if variable.path.endswith("moving_mean"):
            variable.assign(random.normal(0, 0.3, variable.shape))
        elif variable.path.endswith("moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def plain_model():
    """Builds a model whose export takes a moment."""
    images = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(3, 3, padding="same")(images)
    return keras.Model(images, outputs)


@pytest.fixture(scope="session")
def network():
    return build(attention_pool=2, attention_window=4)


@pytest.fixture(scope="session")
def blurred(photo):
    """A photograph with synthetic blur, uint8 (112, 144, 3)."""
    scene = photo[60:172, 150:294]
    return blur_scene(np.random.default_rng(0), np.ascontiguousarray(scene))[0]


def pictures(image, *shape):
    """Returns a batch of crops, float32 in [0, 1]."""
    batch, height, width = shape
    crops = [image[i : i + height, i : i + width] for i in range(batch)]
    return np.stack(crops).astype("float32") / 255


def expected(model, images):
    """Returns what an export computes: the model's answer as a picture."""
    return np.clip(model(images, training=False), 0, 1)
