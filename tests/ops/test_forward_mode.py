import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, tracing


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_derivative_along_the_inputs(mode, rng):
    """The operation is linear in its inputs."""
    inputs, tangent = rng.normal(size=(2, 1, 6, 7, 4))
    kernel = rng.normal(size=(3, 3, 4, 2))
    offset = rng.normal(size=(1, 6, 7, 18))

    def derivative(inputs, tangent):
        with tf.autodiff.ForwardAccumulator(inputs, tangent) as accumulator:
            outputs = deformable_conv2d(inputs, kernel, offset)
        return accumulator.jvp(outputs)

    if mode == "graph":
        derivative = tf.function(derivative)
    with tracing.options(implementation="gather"):
        found = derivative(tf.constant(inputs), tf.constant(tangent))
    expected = deformable_conv2d(tangent, kernel, offset)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
