import re

import keras
import tensorflow as tf
from keras import ops


class _OfNetworks:
    """What both optimizers add to Keras's.

    `global_clipnorm` bounds the gradient of the joint batch. Keras clips each
    replica's part before it adds them up, so that the step depends on how many
    replicas there are. Here the parts are added first, as on one device with
    the whole batch; the price is a second exchange of the gradient.

    What decides where features are taken from has a learning rate of its own:
    the estimate of the offsets and the similarities of the attention. An
    offset sums thousands of features, so that steps which suit the other
    weights move it by pixels, until the kernels sample far outside of what
    they should see. Before `steering_start` it does not change at all: a
    module that has not learnt anything yet is noise, and the gradient moves
    its samples out of the image to be rid of it.

    `decoder_lr_ratio` slows the decoder's kernels. Nothing normalises what
    they read: thousands of inputs whose mean is above zero, so that steps which
    suit the encoder push a filter below zero everywhere within a few dozen, and
    a ReLU that is zero everywhere never learns again.
    """

    def __init__(
        self,
        *args,
        steering_lr_ratio: float = 1.0,
        steering_start: int = 0,
        decoder_lr_ratio: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.steering_lr_ratio = steering_lr_ratio
        self.steering_start = steering_start
        self.decoder_lr_ratio = decoder_lr_ratio

    def apply(self, grads, trainable_variables=None):
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context else 1
        if replicas > 1 and self.global_clipnorm:
            joint = context.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
            clipped, _ = tf.clip_by_global_norm(joint, self.global_clipnorm)
            # Keras adds up as many copies as there are replicas.
            grads = [gradient / replicas for gradient in clipped]
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        weight = self._trainable_variables[index]
        if steers(weight):
            started = self.iterations >= self.steering_start
            ratio = self.steering_lr_ratio * ops.cast(
                started, learning_rate.dtype
            )
            learning_rate = learning_rate * ratio
        elif _decodes(weight):
            learning_rate = learning_rate * self.decoder_lr_ratio
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {
            **super().get_config(),
            "steering_lr_ratio": self.steering_lr_ratio,
            "steering_start": self.steering_start,
            "decoder_lr_ratio": self.decoder_lr_ratio,
        }


def steers(variable) -> bool:
    """Whether a weight decides where features are taken from.

    Args:
        variable: a weight of a network, with its path.
    """
    return bool(re.search(r"/offset_conv/|attention/[bc]/", variable.path))


def _decodes(variable):
    is_kernel = len(variable.shape) == 4
    return is_kernel and bool(
        re.search(r"decoder_|context/|attention/d/", variable.path)
    )


@keras.saving.register_keras_serializable("keras_radn")
class JointClipAdam(_OfNetworks, keras.optimizers.Adam):
    """Adam that clips the joint gradient and can steer slowly.

    Args:
        *args: arguments of `keras.optimizers.Adam`.
        steering_lr_ratio: learning rate of the offsets' and the attention's
            estimates, relative to that of the other weights.
        steering_start: step before which these do not change.
        decoder_lr_ratio: learning rate of the decoder's kernels, relative to
            that of other kernels.
        **kwargs: arguments of `keras.optimizers.Adam`.

    Example:

    ```python
    model = keras_radn.RADN(encoder_weights=None)
    model.compile(
        keras_radn.optimizers.JointClipAdam(
            1e-4, global_clipnorm=1.0, steering_lr_ratio=0.01
        ),
        loss=keras_radn.losses.Charbonnier(),
    )
    ```
    """


@keras.saving.register_keras_serializable("keras_radn")
class ConvMuon(_OfNetworks, keras.optimizers.Muon):
    """Muon for networks of convolutions.

    Keras's Muon orthogonalises the steps of matrices and leaves all else to
    Adam. Here the kernels of convolutions are matrices, too: a row for each
    tap and input channel, a column for each filter. Vectors, the last
    convolution of a network, whose name is `reconstruction`, and what
    `steering_lr_ratio` is for are left to Adam.

    Args:
        learning_rate: of the kernels; the root mean square of a step is 0.2
            times as large.
        adam_lr_ratio: learning rate of the rest, relative to that.
        steering_lr_ratio: learning rate of the offsets' and the attention's
            estimates, relative to that of the other Adam steps.
        steering_start: step before which these do not change.
        decoder_lr_ratio: learning rate of the decoder's kernels, relative to
            that of other kernels.
        **kwargs: arguments of `keras.optimizers.Muon`; there is no weight
            decay unless they ask for it. `exclude_layers` are expressions:
            weights whose path contains one are left to Adam, too.

    Example:

    ```python
    model = keras_radn.RADN(encoder_weights=None)
    model.compile(
        keras_radn.optimizers.ConvMuon(1e-3, decoder_lr_ratio=0.1),
        loss="mean_squared_error",
    )
    ```

    Reference: Liu et al., Muon is Scalable for LLM Training, 2025.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        adam_lr_ratio: float = 0.5,
        steering_lr_ratio: float = 1.0,
        steering_start: int = 0,
        decoder_lr_ratio: float = 1.0,
        adam_weight_decay: float = 0.0,
        weight_decay: float | None = None,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            adam_lr_ratio=adam_lr_ratio,
            steering_lr_ratio=steering_lr_ratio,
            steering_start=steering_start,
            decoder_lr_ratio=decoder_lr_ratio,
            adam_weight_decay=adam_weight_decay,
            weight_decay=weight_decay,
            **kwargs,
        )

    def _should_use_adamw(self, variable):
        is_kernel = len(variable.shape) == 4
        excluded = ("reconstruction", *self.exclude_layers)
        return (
            not is_kernel
            or any(re.search(name, variable.path) for name in excluded)
            or steers(variable)
        )

    def lr_adjust(self, x):
        # Keras would look at the sides of the taps.
        *rows, columns = x.shape
        longest = max(tf.TensorShape(rows).num_elements(), columns)
        return x * (longest**0.5 * self.rms_rate)

    def zeropower_via_newtonschulz5(self, x, steps: int):
        # Keras's iteration, with fewer passes over the matrix: its sides are
        # swapped by the products, and `a` is on the diagonal of the small one.
        matrix = tf.reshape(x, (-1, x.shape[-1]))
        matrix /= tf.norm(matrix) + 1e-7
        # Half precision is enough for what is an approximation anyway.
        matrix = tf.cast(matrix, tf.bfloat16)
        rows, columns = matrix.shape
        tall = rows > columns
        diagonal = self.muon_a * tf.eye(min(rows, columns), dtype=matrix.dtype)
        for _ in range(steps):
            gram = tf.matmul(
                matrix, matrix, transpose_a=tall, transpose_b=not tall
            )
            factor = diagonal + self.muon_b * gram + self.muon_c * gram @ gram
            matrix = matrix @ factor if tall else factor @ matrix
        return tf.cast(tf.reshape(matrix, x.shape), x.dtype)
