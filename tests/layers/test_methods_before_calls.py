import numpy as np
import pytest

from keras_radn import layers
from tests.backends.gradients import float64


@pytest.mark.parametrize(
    ("layer", "method"),
    [
        (lambda: layers.DeformableConv2D(4), "estimate_offset"),
        (lambda: layers.DenseDeformableModule(4, 2, 4), "offsets"),
        (lambda: layers.SelfAttention(1), "residual"),
    ],
)
def test_a_method_builds_the_layer_as_a_call_does(layer, method, rng):
    inputs = rng.normal(size=(1, 5, 6, 4)).astype("float32")
    inspected, called = layer(), layer()
    getattr(inspected, method)(inputs)
    outputs = called(inputs)
    assert [v.shape for v in inspected.variables] == [
        v.shape for v in called.variables
    ]
    assert [v.path.split("/")[1:] for v in inspected.variables] == [
        v.path.split("/")[1:] for v in called.variables
    ]
    inspected.set_weights(called.get_weights())
    np.testing.assert_array_equal(float64(inspected(inputs)), float64(outputs))


def test_attention_before_a_call(rng):
    inputs = rng.normal(size=(1, 5, 6, 4)).astype("float32")
    attention = layers.SelfAttention(1).attention(inputs, (2, 3))
    assert float64(attention).sum() == pytest.approx(1, abs=1e-5)
