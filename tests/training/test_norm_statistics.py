import keras
import numpy as np

from keras_radn.layers.batch_normalization import BatchNormalization
from keras_radn.training.norm_statistics import measure_statistics, norms_of


def test_statistics_are_those_of_all_images(rng):
    """Two norms, one behind the other, are compared with NumPy."""
    inputs = keras.Input((None, None, 3))
    first, second = (BatchNormalization(epsilon=1e-3) for _ in range(2))
    x = keras.layers.Conv2D(4, 1, name="conv")(inputs)
    x = keras.layers.ReLU()(first(x))
    model = keras.Model(inputs, second(x))
    batches = rng.normal(size=(5, 2, 8, 9, 3)).astype("float32")
    batches *= np.arange(1, 6).reshape(-1, 1, 1, 1, 1)  # unlike each other
    weights = [v.numpy() for v in model.trainable_variables]
    measure_statistics(model, batches)

    kernel, bias = model.get_layer("conv").get_weights()
    x = batches.astype("float64") @ kernel[0, 0] + bias
    np.testing.assert_allclose(
        first.moving_mean, x.mean(axis=(0, 1, 2, 3)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        first.moving_variance, x.var(axis=(0, 1, 2, 3)), rtol=1e-3
    )
    # In training each batch is normed by its own statistics.
    axes = (1, 2, 3)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    x = np.maximum((x - mean) / np.sqrt(variance + 1e-3), 0)
    np.testing.assert_allclose(
        second.moving_mean, x.mean(axis=(0, 1, 2, 3)), rtol=1e-3
    )
    for before, variable in zip(
        weights, model.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(before, variable)
    assert [norm.momentum for norm in norms_of(model)] == [0.99, 0.99]
