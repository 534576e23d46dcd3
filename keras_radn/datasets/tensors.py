"""Patches as data sets of TensorFlow, which draws them in its threads."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from keras_radn.datasets.draws import GROUP, Draws
from keras_radn.datasets.patches import PatchSource, orient
from keras_radn.keras_setup import import_keras

if TYPE_CHECKING:
    import tensorflow as tf


def import_tensorflow() -> ModuleType:
    """TensorFlow, whatever the backend of Keras.

    Raises:
        ImportError: if it is not installed.
    """
    import_keras()  # of TensorFlow, it does without the first messages
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            "A `tf.data.Dataset` needs TensorFlow: pip install tensorflow; "
            "without it, `keras_radn.training.train` draws patches by itself."
        ) from error
    return tensorflow


def patch_dataset(
    sources: Sequence[PatchSource],
    shares: Sequence[float],
    patch_size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    first_batch: int = 0,
    context: "tf.distribute.InputContext | None" = None,
    balance: float = 0.0,
    repeats: int = 1,
) -> "tf.data.Dataset":
    """An endless stream of batches, each a function of the seed and its index.

    Patches are flipped and rotated by right angles at random. A stream that
    starts at `first_batch=n` equals the unbroken stream from its batch `n`
    on, so that a resumed training sees the data it would have seen.

    Args:
        sources: where the patches come from.
        shares: share of each source, adding up to 1.
        patch_size: side of the patches in pixels.
        batch_size: patches per batch.
        seed: non-negative integer.
        first_batch: index of the first batch.
        context: which replicas of a `tf.distribute` strategy the stream is
            for: it then has their parts of each batch, one after the other.
        balance: if not 0, each patch has the weight
            `balance / (balance + MSE(blurred, sharp))`. Else a few patches of
            high contrast make up most of a batch's squared error.
        repeats: how often a drawn patch is used, within 32 batches and each
            time in another orientation. To draw patches can take as long as
            to learn from them.

    Returns:
        A dataset of `(blurred, sharp)`, float32
        `(batch_size, patch_size, patch_size, 3)` in [0, 1], and, if balanced,
        sample weights `(batch_size, 1, 1)`.

    Raises:
        ImportError: if TensorFlow is not installed.
        ValueError: if shares and sources do not fit together, the replicas
            do not divide the batch, or `repeats` is not in 1 to 8.

    Example:

    ```python
    from keras_radn import datasets

    sources = [
        datasets.SyntheticBlur("photos"),
        datasets.ImagePairs("GOPRO_Large/train"),
    ]
    batches = datasets.patch_dataset(
        sources, [0.8, 0.2], patch_size=64, batch_size=2
    )
    blurred, sharp = next(iter(batches))
    ```
    """
    draws = Draws(
        sources, shares, patch_size, batch_size, seed, balance, repeats
    )
    return dataset_of(draws, first_batch, context)


def dataset_of(
    draws: Draws,
    first_batch: int = 0,
    context: "tf.distribute.InputContext | None" = None,
) -> "tf.data.Dataset":
    """A stream as a data set; see `patch_dataset`.

    Args:
        draws: its patches.
        first_batch: index of the first batch.
        context: which replicas of a `tf.distribute` strategy it is for.
    """
    tf = import_tensorflow()
    batch_size, balance = draws.batch_size, draws.balance

    def drawn(indices):
        return indices.map(
            as_it_is(lambda index: _draw(draws.draw, draws.patch_size, index)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    context = context or tf.distribute.InputContext()
    part = batch_size // context.num_input_pipelines
    first = context.input_pipeline_id * part
    last = np.iinfo(np.int64).max // batch_size
    if draws.repeats == 1:
        pairs = drawn(
            tf.data.Dataset.range(first_batch, last).flat_map(
                as_it_is(
                    lambda batch: tf.data.Dataset.range(
                        batch * batch_size + first,
                        batch * batch_size + first + part,
                    )
                )
            )
        )
    else:
        pairs = _repeated(draws, drawn, first_batch, part, context)

    def load(pair):
        blurred, sharp = _floats(pair)
        if not balance:
            return blurred, sharp
        error = tf.reduce_mean(tf.square(blurred - sharp))
        weight = tf.reshape(balance / (balance + error), [1, 1])
        return blurred, sharp, weight

    return (
        pairs.map(as_it_is(load))
        .batch(
            context.get_per_replica_batch_size(batch_size), drop_remainder=True
        )
        .prefetch(4)
    )


def as_tensors(
    draw: Callable[..., np.ndarray], size: int | None
) -> "Callable[..., tuple[tf.Tensor, tf.Tensor]]":
    """Turns a function of integers that draws pairs into a map for `tf.data`.

    Args:
        draw: returns blurred and sharp image, uint8 `(2, height, width, 3)`.
        size: of both sides, or `None` if images differ.

    Returns:
        A function that returns both as float32 tensors in [0, 1].
    """

    def load(*integers):
        return _floats(_draw(draw, size, *integers))

    return as_it_is(load)


def as_it_is(function: Callable) -> Callable:
    """Keeps `tf.data` from translating a function by AutoGraph.

    To translate what it calls, imports included, takes longer than to trace it.
    """
    return import_tensorflow().autograph.experimental.do_not_convert(function)


def _draw(draw, size, *integers):
    tf = import_tensorflow()
    pair = tf.numpy_function(draw, integers, tf.uint8)
    pair.set_shape([2, size, size, 3])
    return pair


def _floats(pair):
    tf = import_tensorflow()
    blurred, sharp = tf.unstack(tf.cast(pair, tf.float32) / 255)
    return blurred, sharp


def _repeated(draws, drawn, first_batch, part, context):
    """The pairs of the parts of batches, each of them `repeats` times.

    They are drawn and mixed a group of batches at a time.
    """
    tf = import_tensorflow()
    count = draws.draws_of_group(part)

    def indices(group):
        first = group * context.num_input_pipelines + context.input_pipeline_id
        return tf.data.Dataset.range(first * count, (first + 1) * count)

    def mix(group, pairs):
        places = zip(*draws.arrangement(group, part), strict=True)
        return np.stack([orient(pairs[i], turn) for i, turn in places])

    def mixed(group, pairs):
        shape = pairs.shape[1:]
        pairs = tf.numpy_function(mix, [group, pairs], tf.uint8)
        pairs.set_shape([None, *shape])
        return tf.data.Dataset.from_tensor_slices(pairs)

    group, batch = divmod(first_batch, GROUP)
    numbers = tf.data.Dataset.range(group, 2**40)
    groups = drawn(numbers.flat_map(as_it_is(indices))).batch(count)
    return (
        tf.data.Dataset.zip(numbers, groups)
        .prefetch(1)
        .flat_map(as_it_is(mixed))
        .skip(batch * part)
    )
