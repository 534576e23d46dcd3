import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_radn")
class JointClipAdam(keras.optimizers.Adam):
    """Adam whose `global_clipnorm` bounds the gradient of the joint batch.

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
