import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, gather
from tests.ops.test_deformable import draw, gradients


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_xla_equals_eager(seed, monkeypatch):
    """Outputs and gradients agree with what "auto" chooses under XLA."""
    monkeypatch.setattr(gather, "_CHUNK_ELEMENTS", 500)  # a few chunks
    arrays, arguments = draw(seed)

    def call(*tensors):
        return gradients(lambda *a: deformable_conv2d(*a, **arguments), tensors)

    compiled = tf.function(call, jit_compile=True)
    for actual, expected in zip(
        compiled(*map(tf.constant, arrays)), call(*arrays), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-8)
