"""Networks and their answers under TensorFlow, for the other backends.

`python -m tests.backends.networks` rewrites the file of answers; the tests
compare with it under TensorFlow, too.
"""

from pathlib import Path

import numpy as np

import keras_radn
from keras_radn.models.deblurring_model import variables_by_path
from tests.backends.gradients import float64
from tests.conftest import TINY_RADN

ANSWERS = Path(__file__).with_name("answers.npz")

SIZES = {"odd": (2, 19, 21), "one pixel": (1, 1, 1), "long": (1, 3, 40)}

NETWORKS = {
    "Final": lambda: keras_radn.RADN(**TINY_RADN),
    "pooled": lambda: keras_radn.RADN(
        **TINY_RADN, stem_pool=True, attention_pool=2
    ),
    "windows": lambda: keras_radn.RADN(**TINY_RADN, attention_window=2),
    "RADN1": lambda: keras_radn.RADN(
        **TINY_RADN, decoder_block="bottleneck", attention=False
    ),
    "RADN4": lambda: keras_radn.RADN(**TINY_RADN, decoder_block="dense"),
    "residual": lambda: keras_radn.ResidualBaseline(
        6, attention=True, filters=(8, 8, 16), blocks=1
    ),
    "packaged": lambda: keras_radn.RADN(pretrained=True),
}


def build(name):
    """Builds a network with random weights, or with the packaged ones."""
    model = NETWORKS[name]()
    if name != "packaged":
        rng = np.random.default_rng(5)
        for path, variable in sorted(variables_by_path(model).items()):
            noise = 0.1 * rng.standard_normal(variable.shape)
            if path.endswith("variance"):
                noise = np.exp(noise)
            elif path.endswith("kernel"):
                fan_in = np.prod(variable.shape[:-1])
                noise = 10 * noise / fan_in**0.5
            elif path.endswith("gamma"):
                noise += 1
            variable.assign(noise.astype("float32"))
    return model


def images(size):
    """Returns a batch with edges and noise in [0, 1]."""
    shape = SIZES[size]
    rng = np.random.default_rng(6)
    rows, columns = np.indices(shape[1:])
    edges = ((rows // 7 + columns // 5) % 2)[..., np.newaxis]
    batch = 0.6 * edges + 0.4 * rng.random((*shape, 3))
    return batch.astype("float32")


def answer(model, size):
    return float64(model(images(size), training=False)).astype("float32")


if __name__ == "__main__":
    np.savez_compressed(
        ANSWERS,
        **{
            f"{name}, {size}": answer(build(name), size)
            for name in NETWORKS
            for size in SIZES
        },
    )
