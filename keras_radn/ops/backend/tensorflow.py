"""TensorFlow's part of each backend's functions, which `common` documents."""

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_radn import hooks
from keras_radn.ops import (
    library,
    native,
    optimizer_steps,
    tracing,
    training,
)

INFERENCE_FORM = True
TENSORFLOW_TRAINING = True
KERNELS_TOGETHER = False

FAILURES = (ValueError, TypeError, tf.errors.InvalidArgumentError)

context_training = training.context
convolution_training = training.convolution
dense_block_training = training.dense_block
deform_units_training = training.deform_units
has_training_ops = training.available


def require_tensorflow(what: str) -> None:
    pass


def information() -> dict[str, str]:
    devices = ", ".join(
        f"{device.device_type} {device.name.rsplit(':', 1)[-1]}"
        for device in tf.config.list_physical_devices()
    )
    return {
        "TensorFlow": tf.__version__,
        "devices": devices,
        "deformable op": _deformable_op(),
    }


def _deformable_op():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reason is returned
        chosen = library.choose("auto")
    state = library.load()
    if state.problem is not None:
        return f"{chosen}; the compiled library {state.problem}"
    devices = hooks.devices_of("KerasRadn>DeformableSum")
    return (
        f"{chosen}; compiled for {' and '.join(devices)}, on this CPU "
        f"{state.instruction_set} ({state.path})"
    )


def cuda_support() -> tuple[str, str | None, int, str]:
    return (
        f"TensorFlow {tf.__version__}",
        tf.sysconfig.get_build_info().get("cuda_version"),
        len(tf.config.list_physical_devices("GPU")),
        "`pip install keras-radn[cuda]`",
    )


def compiled_library() -> library.Library:
    return library.load()


def limit_threads(count: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(count)


def compiled_convolution(
    implementation: str, inputs: tf.Tensor, kernel: tf.Tensor, offset: tf.Tensor
) -> Callable | None:
    chosen = library.choose(implementation)
    return native.deformable_conv2d if chosen == "native" else None


def supports_jit(implementation: str) -> bool:
    # Keras turns XLA on by itself where it can (on GPUs). A model saved as
    # native must load where the library is missing.
    return implementation == "gather" or library.choose("auto") == "gather"


def take_rows(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return tf.gather(values, index, axis=1, batch_dims=1)


def enlarge(maps: tf.Tensor, factor: int) -> tf.Tensor:
    # Keras's resizing needs sizes that are known.
    _, rows, columns, _ = keras.ops.shape(maps)
    return tf.image.resize(maps, (factor * rows, factor * columns))


def map_chunks(function: Callable, chunks: Any, shape, dtype) -> tf.Tensor:
    return tf.map_fn(
        function,
        chunks,
        fn_output_signature=tf.TensorSpec(shape, dtype),
        parallel_iterations=1,
    )


def recomputed(function: Callable) -> Callable:
    # `tf.recompute_grad` does the same, but has no second derivative.
    @tf.custom_gradient
    def compute(*arguments):
        def backward(gradient):
            again = arguments
            if not tf.executing_eagerly():
                # False, which no compiler knows: or it would take the second
                # run for the first, and keep what that one had.
                some = tf.reduce_max(tf.reshape(gradient, [-1])[:1])
                never = tf.math.is_nan(some) & tf.math.is_inf(some)
                again = [x + tf.cast(never, x.dtype) for x in arguments]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs = function(*again)
            return tape.gradient(outputs, again, gradient)

        return function(*arguments), backward

    return compute


def loops() -> bool:
    allowed = tracing.current().loops
    return not hooks.exported_by_keras() if allowed is None else allowed


def loops_of_unknown_size() -> bool:
    return loops() and not library.in_xla()


def with_shape(tensor: tf.Tensor, shape) -> tf.Tensor:
    if not loops():
        # Converters lose what `set_shape` says.
        return tf.ensure_shape(tensor, shape)
    tensor.set_shape(shape)  # has a forward-mode derivative in graphs, too
    return tensor


def fused_batch_norm(
    features: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    mean: tf.Tensor | None = None,
    variance: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return tf.compat.v1.nn.fused_batch_norm(
        features,
        gamma,
        beta,
        mean,
        variance,
        epsilon=epsilon,
        is_training=mean is None,
    )


def current_strategy() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def spans_machines(strategy: tf.distribute.Strategy) -> bool:
    resolver = strategy.cluster_resolver
    return resolver is not None and bool(resolver.cluster_spec().jobs)


def replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def replicas_of(model: keras.Model) -> int:
    return model.distribute_strategy.num_replicas_in_sync


def jointly_clipped(gradients: list, norm: float | None) -> list:
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync if context else 1
    if count == 1 or not norm:
        return gradients
    joint = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
    clipped, _ = tf.clip_by_global_norm(joint, norm)
    # Keras adds up as many copies as there are replicas.
    return [gradient / count for gradient in clipped]


def adam_step(
    step: tf.Tensor, beta_1: float, beta_2: float, epsilon: float
) -> Callable | None:
    if replicas() > 1:
        return None

    @functools.cache
    def scalars(dtype):
        count, first, second = (
            tf.cast(x, dtype) for x in (step, beta_1, beta_2)
        )
        return {
            "beta1_power": first**count,
            "beta2_power": second**count,
            "beta1": first,
            "beta2": second,
            "epsilon": tf.cast(epsilon, dtype),
        }

    def update(variable, momentum, velocity, gradient, learning_rate):
        dtype = variable.dtype
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            lr=tf.cast(learning_rate, dtype),
            grad=tf.cast(gradient, dtype),
            **scalars(dtype),
        )

    return update


def moves_together(variables, gradients=()) -> bool:
    return (
        replicas() == 1
        and all(variable.dtype == "float32" for variable in variables)
        and not any(isinstance(g, tf.IndexedSlices) for g in gradients)
        and has_training_ops()
    )


def move_averages(
    averages: list, variables: list, share: tf.Tensor | float
) -> bool:
    if replicas() > 1:
        return False
    known = all(average is not None for average in averages)
    if known and moves_together([*averages, *variables]):
        optimizer_steps.move_averages(averages, variables, share)
        return True
    for average, variable in zip(averages, variables, strict=True):
        if average is not None:
            average, value = average.value, variable.value
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.handle,
                alpha=tf.cast(share, average.dtype),
                delta=average - tf.cast(value, average.dtype),
            )
    return True


def compile_scope(model: keras.Model) -> contextlib.AbstractContextManager:
    return model.distribute_strategy.scope()


def compiled_model(reference: Callable) -> Callable | None:
    model = reference()
    if replicas_of(model) > 1:
        return None  # its variables are read by the rules of the strategy
    inputs = getattr(model, "inputs", None)
    dtype = inputs[0].dtype if inputs else "float32"

    @tf.function(
        input_signature=[tf.TensorSpec([1, None, None, 3], dtype)],
        autograph=False,
    )
    def function(batch):
        return reference()(batch, training=False)

    return function


def inference_call(model: keras.Model) -> Callable:
    # Outside of a distribution strategy: once, not by each replica.
    return tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec([1, None, None, 3])],
        autograph=False,
    )


def training_call(model: keras.Model) -> Callable:
    return tf.function(
        lambda images: model(images, training=True), autograph=False
    )


def read_state(model: keras.Model) -> None:
    pass


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, tf.errors.ResourceExhaustedError | MemoryError)


class Model(keras.Model):
    """What distribution strategies need of a network."""

    def train_step(self, data):
        return _reducible(super().train_step(data))

    def test_step(self, data):
        return _reducible(super().test_step(data))

    def make_train_function(self, force=False):
        # A step that makes variables while it is traced is traced twice.
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras 3.15 would reduce a batch over the replicas to learn its shape,
        # which fails if they are on several machines.
        if data_batch is None:
            data_batch = self.inputs[0], self.outputs[0]
        super()._maybe_symbolic_build(data_batch=data_batch)


def _reducible(logs):
    """Metrics as Keras can reduce them over the machines of a cluster.

    There, and only there, Keras 3.15 takes their mean over an axis that
    scalars do not have.
    """
    if not spans_machines(tf.distribute.get_strategy()):
        return logs
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}
