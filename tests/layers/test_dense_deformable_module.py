import numpy as np
import pytest

from keras_radn.layers import DenseDeformableModule
from tests.oracles import deformable_conv2d


def test_offsets_make_the_output(rng):
    """Equation 4 with the offsets, unit by unit, in float64."""
    layer = DenseDeformableModule(5, units=2, growth_rate=3)
    layer.build((None, None, None, 4))
    for variable in layer.variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    inputs = rng.normal(size=(1, 5, 6, 4)).astype("float32")
    offsets = layer.offsets(inputs)
    assert len(offsets) == 2
    features = inputs.astype("float64")
    for conv, offset in zip(layer.convs, offsets, strict=True):
        assert np.abs(offset).max() > 0.5
        new = deformable_conv2d(
            features, np.asarray(conv.kernel), np.asarray(offset, "float64")
        )
        new = np.maximum(new + np.asarray(conv.bias), 0)
        features = np.concatenate([features, new], axis=-1)
    kernel, bias = layer.reduction.get_weights()
    np.testing.assert_allclose(
        layer(inputs), features @ kernel[0, 0] + bias, rtol=1e-3, atol=1e-4
    )


def test_ordinary_convolutions_have_no_offsets():
    layer = DenseDeformableModule(5, 2, 3, deformable=False, name="plain")
    with pytest.raises(ValueError, match="'plain' has no offsets"):
        layer.offsets(np.zeros((1, 4, 4, 2), "float32"))
