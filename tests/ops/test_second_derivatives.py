import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, gather, tracing
from tests import oracles


@pytest.mark.parametrize("filters", [2, 4, 6], ids="{} filters".format)
@pytest.mark.parametrize(
    "mode",
    ["eager", "chunks", "graph", pytest.param("xla", marks=pytest.mark.slow)],
)
def test_equal_second_differences(filters, mode, rng, monkeypatch):
    """All arguments with 4 channels move along one random direction."""
    if mode == "chunks":
        monkeypatch.setattr(gather, "_CHUNK_ELEMENTS", 1)
    point = [
        rng.normal(size=(1, 4, 5, 4)),
        rng.normal(size=(3, 2, 4, filters)),
        # Far from the kinks of bilinear interpolation, which are at pixels.
        rng.integers(-2, 3, (1, 4, 5, 12)) + rng.uniform(0.2, 0.8, 12),
        rng.random((1, 4, 5, 6)),
    ]
    direction = [rng.normal(size=x.shape) for x in point]

    def second(*arrays):
        with tf.GradientTape() as outer:
            outer.watch(arrays)
            with tf.GradientTape() as inner:
                inner.watch(arrays)
                loss = tf.reduce_sum(deformable_conv2d(*arrays) ** 2)
            slope = sum(
                tf.reduce_sum(g * d)
                for g, d in zip(
                    inner.gradient(loss, arrays), direction, strict=True
                )
            )
        return sum(
            tf.reduce_sum(g * d)
            for g, d in zip(
                outer.gradient(slope, arrays), direction, strict=True
            )
        )

    def loss(step):
        moved = [x + step * d for x, d in zip(point, direction, strict=True)]
        return np.sum(oracles.deformable_conv2d(*moved) ** 2)

    if mode in ("graph", "xla"):
        second = tf.function(second, jit_compile=mode == "xla")
    with tracing.options(implementation="gather"):
        computed = second(*map(tf.constant, point))
    step = 1e-3
    expected = (loss(step) - 2 * loss(0) + loss(-step)) / step**2
    assert computed.numpy() == pytest.approx(expected, rel=1e-3)
