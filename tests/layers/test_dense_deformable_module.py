import numpy as np
import pytest

from keras_radn.layers import DenseDeformableModule
from tests.backends.gradients import float64
from tests.oracles import deformable_conv2d


def norm_relu(features, norm):
    """Applies batch norm by the moving averages, then ReLU, in float64."""
    gamma, beta, mean, variance = (np.float64(w) for w in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return np.maximum((features - mean) * scale + beta, 0)


def test_offsets_make_the_output(rng):
    """The output is equation 4 with the offsets, unit by unit, in float64."""
    layer = DenseDeformableModule(5, units=2, growth_rate=3)
    layer.build((None, None, None, 4))
    for variable in layer.variables:
        value = rng.normal(0, 0.3, variable.shape)
        if variable.name == "moving_variance":
            value = np.exp(value)
        variable.assign(value)
    inputs = rng.normal(size=(1, 5, 6, 4)).astype("float32")
    offsets = [float64(offset) for offset in layer.offsets(inputs)]
    assert len(offsets) == 2
    features = inputs.astype("float64")
    units = zip(layer.convs, layer.norms, offsets, strict=True)
    for conv, norm, offset in units:
        assert np.abs(offset).max() > 0.5
        new = deformable_conv2d(features, conv.kernel.numpy(), offset)
        features = np.concatenate([features, norm_relu(new, norm)], axis=-1)
    [kernel] = layer.reduction.get_weights()
    expected = norm_relu(features @ kernel[0, 0], layer.reduction_norm)
    assert (expected > 0).any()
    outputs = float64(layer(inputs))
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)


def test_ordinary_convolutions_have_no_offsets():
    layer = DenseDeformableModule(5, 2, 3, deformable=False, name="plain")
    with pytest.raises(ValueError, match="'plain' has no offsets"):
        layer.offsets(np.zeros((1, 4, 4, 2), "float32"))
