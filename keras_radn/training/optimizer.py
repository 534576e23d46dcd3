import keras
import tensorflow as tf
from keras import ops


class _JointClip:
    """Makes `global_clipnorm` bound the gradient of the joint batch.

    Keras clips each replica's part of the gradient before it adds them up, so
    that the step depends on how many replicas there are. Here the parts are
    added first, as on one device with the whole batch; the price is a second
    exchange of the gradient.
    """

    def apply(self, grads, trainable_variables=None):
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context else 1
        if replicas > 1 and self.global_clipnorm:
            joint = context.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
            clipped, _ = tf.clip_by_global_norm(joint, self.global_clipnorm)
            # Keras adds up as many copies as there are replicas.
            grads = [gradient / replicas for gradient in clipped]
        return super().apply(grads, trainable_variables)


@keras.saving.register_keras_serializable("keras_radn")
class JointClipAdam(_JointClip, keras.optimizers.Adam):
    """Adam whose `global_clipnorm` bounds the gradient of the joint batch."""


@keras.saving.register_keras_serializable("keras_radn")
class ConvMuon(_JointClip, keras.optimizers.Muon):
    """Muon for networks of convolutions.

    Keras's Muon orthogonalises the steps of matrices and leaves all else to
    Adam. Here the kernels of convolutions are matrices, too: a row for each
    tap and input channel, a column for each filter. Vectors, and the last
    convolution of a network, whose name is `reconstruction`, are left to Adam.

    Args:
        learning_rate: of the kernels; the root mean square of a step is 0.2
            times as large.
        adam_lr_ratio: learning rate of the rest, relative to that.
        **kwargs: arguments of `keras.optimizers.Muon`; there is no weight
            decay unless they ask for it.

    Reference: Liu et al., Muon is Scalable for LLM Training, 2025.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        adam_lr_ratio: float = 0.5,
        adam_weight_decay: float = 0.0,
        weight_decay: float | None = None,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            adam_lr_ratio=adam_lr_ratio,
            adam_weight_decay=adam_weight_decay,
            weight_decay=weight_decay,
            **kwargs,
        )

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or "reconstruction" in variable.path

    def lr_adjust(self, x):
        # Keras would look at the sides of the taps.
        *rows, columns = x.shape
        longest = max(tf.TensorShape(rows).num_elements(), columns)
        return x * (longest**0.5 * self.rms_rate)

    def zeropower_via_newtonschulz5(self, x, steps: int):
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        # Half precision is enough for what is an approximation anyway.
        matrix = ops.cast(matrix, "bfloat16")
        matrix = super().zeropower_via_newtonschulz5(matrix, steps)
        return ops.cast(ops.reshape(matrix, x.shape), x.dtype)
