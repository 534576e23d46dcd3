import keras
from keras import ops

from keras_radn.ops import backend

# As in DenseNet of keras.applications.
EPSILON = 1.001e-5


# The name is that of the base class: Keras addresses weights in files by it.
@keras.saving.register_keras_serializable("keras_radn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm of images, by one operation in training.

    The same function of the same weights. TensorFlow's fused operation reads
    half-precision features as they are; Keras's layer casts them to float32
    and goes over them a dozen times. What that operation does not know,
    synchronized statistics and float64, is left to the base class, and so are
    other backends, whose compilers fuse the layer by themselves.

    Args:
        **kwargs: arguments of `keras.layers.BatchNormalization`, with
            `center`, `scale` and `axis` as they are by default.

    Attributes:
        frozen: whether a call in training uses the moving averages and leaves
            them as they are, while `gamma` and `beta` go on learning. It is
            not saved.

    Input and output shape: `(batch, height, width, channels)`.
    """

    frozen = False

    def call(self, inputs, training=None):
        fused = training and self.trainable and not self.synchronized
        fused = fused and backend.fused_batch_norm is not None
        if not fused or self.compute_dtype == "float64":
            return super().call(inputs, training=training and not self.frozen)
        averages = {}
        if self.frozen:
            averages = {
                "mean": ops.cast(self.moving_mean, "float32"),
                "variance": ops.cast(self.moving_variance, "float32"),
            }
        outputs, mean, variance = backend.fused_batch_norm(
            inputs,
            ops.cast(self.gamma, "float32"),
            ops.cast(self.beta, "float32"),
            self.epsilon,
            **averages,
        )
        if not self.frozen:
            # Keras averages the biased estimate.
            count = ops.cast(ops.size(inputs[..., 0]), "float32")
            variance *= ops.maximum(count - 1, 1) / count
            self._average(self.moving_mean, mean)
            self._average(self.moving_variance, variance)
        return outputs

    def _average(self, average, value):
        last = ops.cast(average, "float32")
        average.assign(last * self.momentum + value * (1 - self.momentum))


def network_norm(
    name: str, dtype, momentum: float = 0.9, synchronized: bool = False
) -> BatchNormalization:
    """A batch norm as all networks of the package have it.

    Args:
        name: of the layer.
        dtype: dtype or dtype policy.
        momentum: of the moving averages.
        synchronized: whether it uses the statistics of all replicas of a
            distribution strategy.
    """
    return BatchNormalization(
        momentum=momentum,
        epsilon=EPSILON,
        synchronized=synchronized,
        dtype=dtype,
        name=name,
    )
