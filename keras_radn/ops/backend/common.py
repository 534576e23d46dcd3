"""The names of a backend's module, as they are where it has none of its own."""

import contextlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
from keras import ops

from keras_radn.ops.implementation import requested

# The base class of the package's networks.
Model = keras.Model

# What a network raises for an image that it cannot take; some of it tells that
# memory is full (`is_out_of_memory`).
FAILURES: tuple[type[Exception], ...] = (ValueError, TypeError)

# Whether networks have an inference form (`keras_radn.inference_model`).
INFERENCE_FORM = False

# Whether a training has its batches from `tf.data`, in parts for the replicas
# of a distribution strategy, and writes logs for TensorBoard.
TENSORFLOW_TRAINING = False

# Whether Muon orthogonalizes kernels of about one size together.
KERNELS_TOGETHER = False

# A batch norm in training as one operation: a function of features, gamma,
# beta, epsilon, and of a mean and variance or `None` for those of the batch,
# that returns the outputs, the mean, and the unbiased variance.
fused_batch_norm: Callable | None = None

# The context aggregation, a convolution with its norm, a dense block, and the
# units of a dense deformable module in training, as one operation each: see
# `ops.training`. There only where `has_training_ops` says so.
context_training: Callable | None = None
convolution_training: Callable | None = None
dense_block_training: Callable | None = None
deform_units_training: Callable | None = None

# Steps of optimizers as one operation each: the module `ops.optimizer_steps`,
# for what `moves_together` says.
optimizer_steps: ModuleType | None = None


def has_training_ops(dtype: str = "float32") -> bool:
    """Whether compiled operations serve in the graph that is being built.

    Args:
        dtype: what a layer computes in.
    """
    return False


def require_tensorflow(what: str) -> None:
    """Refuses what TensorFlow alone can do.

    Args:
        what: the beginning of a sentence.

    Raises:
        ImportError: on another backend.
    """
    raise ImportError(
        f"{what} needs TensorFlow, and Keras runs on "
        f"{keras.backend.backend()!r}: install TensorFlow and set "
        "KERAS_BACKEND=tensorflow; weights and .keras files are the same."
    )


def information() -> dict[str, str]:
    """Versions and devices, as `keras-radn info` prints them."""
    raise NotImplementedError


def cuda_support() -> tuple[str, str | None, int, str]:
    """What the backend says of GPUs.

    Returns:
        Its name and version, the CUDA version that it was built for or `None`,
        how many GPUs it sees, and the command that installs it for them.
    """
    raise NotImplementedError


def compiled_library() -> Any | None:
    """The `library.Library` of compiled ops, where the backend has one."""
    return None


def limit_threads(count: int) -> None:
    """How many threads one operation may have, where the backend can be told.

    Before anything is computed.
    """


def compiled_convolution(
    implementation: str, inputs: Any, kernel: Any, offset: Any
) -> Callable | None:
    """A compiled deformable convolution.

    Args:
        implementation: `"auto"`, `"native"` or `"gather"`.
        inputs: what it will be called with, and so `kernel` and `offset`.

    Returns:
        A function with the arguments of `gather.deformable_conv2d`, or `None`
        if that is the one to use.

    Raises:
        ImportError: if `"native"` is asked for, and there is none.
        ValueError: if the name is not known.
    """
    if requested(implementation)[0] == "native":
        raise ImportError(
            "There is no compiled deformable convolution for the backend "
            f'{keras.backend.backend()!r}. Use implementation="auto", or set '
            "KERAS_BACKEND=tensorflow where TensorFlow is installed."
        )
    return None


def supports_jit(implementation: str) -> bool:
    """Whether the backend's compiler can take a deformable convolution.

    Args:
        implementation: `"auto"`, `"native"` or `"gather"`.
    """
    return True


def take_rows(values: Any, index: Any) -> Any:
    """Rows of each element of a batch.

    Args:
        values: `(batch, rows, depth)`.
        index: int32 `(batch, ...)`, within `rows`.

    Returns:
        `(batch, ..., depth)`.
    """
    batch, rows, depth = values.shape
    first = ops.reshape(
        ops.arange(batch, dtype="int32") * rows,
        [batch] + [1] * (len(index.shape) - 1),
    )
    return ops.take(ops.reshape(values, [-1, depth]), index + first, axis=0)


def enlarge(maps: Any, factor: int) -> Any:
    """Maps enlarged bilinearly.

    Args:
        maps: `(batch, rows, columns, channels)`.
        factor: how many times.

    Returns:
        `(batch, factor * rows, factor * columns, channels)`, float32 at least:
        the interpolated positions of half precision are coarse.
    """
    _, rows, columns, _ = maps.shape
    dtype = keras.backend.result_type(maps.dtype, "float32")
    size = factor * rows, factor * columns
    return ops.image.resize(ops.cast(maps, dtype), size)


def map_chunks(
    function: Callable, chunks: Any, shape: Sequence[int | None], dtype: Any
) -> Any:
    """Results of a function of each chunk, one after the other, stacked.

    Args:
        function: of a chunk, or of a tuple with a chunk of each tensor.
        chunks: a tensor whose first axis is that of the chunks, or a tuple of
            such.
        shape: of a result; `None` where it is not known.
        dtype: of a result.
    """
    return ops.map(function, chunks)


def recomputed(function: Callable) -> Callable:
    """The function, run again for its gradient to save memory.

    Args:
        function: of tensors that have gradients; it returns one tensor.
    """
    return keras.remat(function)


def loops() -> bool:
    """Whether large images may be done a chunk at a time."""
    return True


def loops_of_unknown_size() -> bool:
    """The same, where the number of chunks is not known in advance."""
    return True


def with_shape(tensor: Any, shape: Sequence[int | None]) -> Any:
    """The tensor, with what is known of its shape."""
    return tensor


class OneDevice:
    """A distribution strategy that does not distribute."""

    num_replicas_in_sync = 1

    def scope(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


def current_strategy() -> Any:
    """The distribution strategy that is in use."""
    return OneDevice()


def spans_machines(strategy: Any) -> bool:
    """Whether a distribution strategy has replicas on several machines."""
    return False


def replicas() -> int:
    """How many devices train on parts of a batch by a distribution strategy."""
    return 1


def replicas_of(model: keras.Model) -> int:
    """On how many devices a model was made by a distribution strategy."""
    return 1


def jointly_clipped(gradients: list, norm: float | None) -> list:
    """Gradients that an optimizer may clip to a norm by itself.

    Args:
        gradients: of one replica.
        norm: the largest global norm of the joint gradient, or `None`.
    """
    return gradients


def adam_step(
    step: Any, beta_1: float, beta_2: float, epsilon: float
) -> Callable | None:
    """A step of Adam as one operation for each variable.

    Args:
        step: number of the step, from 1.
        beta_1: decay of the first moments.
        beta_2: decay of the second moments.
        epsilon: what is added to the root of the second moment.

    Returns:
        A function of a variable, its first and second moment, its gradient and
        the learning rate, which updates the first three; `None` where Keras
        has to do it.
    """
    return None


def moves_together(variables: Sequence, gradients: Sequence = ()) -> bool:
    """Whether an operation of `optimizer_steps` can move these variables.

    Args:
        variables: of a network or an optimizer.
        gradients: of some of them.
    """
    return False


def move_averages(averages: list, variables: list, share: Any) -> bool:
    """Moves the averages of weights towards the weights.

    Args:
        averages: a variable or `None` for each of the weights.
        variables: the weights.
        share: of the way that the averages go, from 0 to 1.

    Returns:
        Whether it was done; if not, Keras has to do it.
    """
    return False


def compile_scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """What a network must be compiled in."""
    return contextlib.nullcontext()


def compiled_model(reference: Callable) -> Callable | None:
    """A network compiled for images of all sizes, if the backend can do it.

    Args:
        reference: gives the model: a weak reference.

    Returns:
        A function of a batch `(1, height, width, 3)`, or `None`.
    """
    return None


def inference_call(model: keras.Model) -> Callable:
    """A network for whole images in a training, which it does not disturb.

    Args:
        model: the network.

    Returns:
        A function of a batch `(1, height, width, 3)`, of which the current
        weights are used.
    """
    return model.predict_on_batch


def training_call(model: keras.Model) -> Callable:
    """A network as it is called in training, without learning from it.

    Args:
        model: the network; the moving averages of its batch norms change.

    Returns:
        A function of a batch of images, compiled where the backend compiles;
        what the layers are set to at its first call stays.
    """
    return lambda images: model(images, training=True)


def read_state(model: keras.Model) -> None:
    """Gives a model the weights that its training is at, between two steps."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether there was too little memory, of the device or of the machine."""
    return isinstance(error, MemoryError)
