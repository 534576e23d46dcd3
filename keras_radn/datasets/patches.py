import bisect
import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_radn.datasets.camera import BlurStrength


class PatchSource(ABC):
    """Where pairs of patches come from: entries that are files or parts."""

    @abstractmethod
    def __len__(self) -> int:
        """How many entries there are."""

    @abstractmethod
    def patch(
        self, index: int, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random patch of an entry, a function of the arguments alone.

        Args:
            index: which entry, from 0 to `len(self) - 1`.
            rng: source of randomness.
            size: side of the patch in pixels.

        Returns:
            Blurred and sharp patch, uint8 `(size, size, 3)`.
        """

    @abstractmethod
    def check(self, index: int, size: int | None = None) -> None:
        """Reads an entry to its end.

        Args:
            index: which entry.
            size: side of the patches in pixels, or `None` if any size will do.

        Raises:
            ValueError: if a file is unreadable or truncated, the sizes of a
                pair differ, or the entry is too small for patches.
        """

    def with_strength(self, strength: BlurStrength) -> "PatchSource":
        """The same source with another blur, where it makes the blur itself.

        Args:
            strength: distributions of the blur.
        """
        return self

    def sample(
        self, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random patch of a random entry; see `patch`."""
        return self.patch(int(rng.integers(len(self))), rng, size)


class BlurSource(PatchSource):
    """A source that blurs sharp pictures by itself.

    Attributes:
        strength: distributions of the blur.
    """

    strength: BlurStrength

    def with_strength(self, strength: BlurStrength) -> "BlurSource":
        """The same pictures, those in memory, too, with another blur."""
        other = copy.copy(self)
        other.strength = strength
        return other


class JoinedSources(PatchSource):
    """The entries of several sources, one after the other.

    Args:
        sources: what to join.
    """

    def __init__(self, sources: Sequence[PatchSource]):
        self.sources = list(sources)
        self._ends = list(itertools.accumulate(map(len, self.sources)))

    def __len__(self) -> int:
        return self._ends[-1]

    def with_strength(self, strength: BlurStrength) -> "JoinedSources":
        """See `PatchSource.with_strength`."""
        return JoinedSources(
            [source.with_strength(strength) for source in self.sources]
        )

    def patch(
        self, index: int, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random patch of an entry; see `PatchSource.patch`."""
        source, index = self._find(index)
        return source.patch(index, rng, size)

    def check(self, index: int, size: int | None = None) -> None:
        """Reads an entry; see `PatchSource.check`."""
        source, index = self._find(index)
        source.check(index, size)

    def _find(self, index):
        i = bisect.bisect_right(self._ends, index)
        return self.sources[i], index - (self._ends[i - 1] if i else 0)


def require_size(name: str | Path, image: np.ndarray, size: int | None) -> None:
    """Raises a ValueError if an image is smaller than patches.

    Args:
        name: of the file, for the message.
        image: `(height, width, ...)`.
        size: side of the patches in pixels, or `None` if any size will do.
    """
    height, width = image.shape[:2]
    if size is not None and min(height, width) < size:
        raise ValueError(
            f"{name} is smaller than the patch: {width}x{height} pixels for "
            f"patches of {size}."
        )


def patch_dataset(
    sources: Sequence[PatchSource],
    shares: Sequence[float],
    patch_size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    first_batch: int = 0,
    context: tf.distribute.InputContext | None = None,
    balance: float = 0.0,
) -> tf.data.Dataset:
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

    Returns:
        A dataset of `(blurred, sharp)`, float32
        `(batch_size, patch_size, patch_size, 3)` in [0, 1], and, if balanced,
        sample weights `(batch_size, 1, 1)`.

    Raises:
        ValueError: if shares and sources do not fit together, or the replicas
            do not divide the batch.

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
    if (
        len(sources) != len(shares)
        or min(shares) < 0
        or not np.isclose(sum(shares), 1, atol=1e-3)
    ):
        raise ValueError(
            "`shares` must have a number for each source, none of them "
            "negative, and add up to 1. "
            f"Received: {len(sources)} sources, shares={list(shares)}"
        )
    shares = np.divide(shares, sum(shares))

    def draw(index):
        rng = np.random.default_rng([seed, int(index)])
        source = sources[int(rng.choice(len(sources), p=shares))]
        return augment(source.sample(rng, patch_size), rng)

    context = context or tf.distribute.InputContext()
    part = batch_size // context.num_input_pipelines
    first = context.input_pipeline_id * part

    def indices(batch):
        start = batch * batch_size + first
        return tf.data.Dataset.range(start, start + part)

    load = as_tensors(draw, patch_size)

    def load_weighted(index):
        blurred, sharp = load(index)
        error = tf.reduce_mean(tf.square(blurred - sharp))
        weight = tf.reshape(balance / (balance + error), [1, 1])
        return blurred, sharp, weight

    last = np.iinfo(np.int64).max // batch_size
    return (
        tf.data.Dataset.range(first_batch, last)
        .flat_map(indices)
        .map(
            load_weighted if balance else load,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(
            context.get_per_replica_batch_size(batch_size), drop_remainder=True
        )
        .prefetch(4)
    )


def augment(
    pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Flips and rotates both patches alike, at random.

    Args:
        pair: blurred and sharp patch, `(size, size, 3)`.
        rng: source of randomness.

    Returns:
        Both in one array `(2, size, size, 3)`.
    """
    patches = np.rot90(np.stack(pair), int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        patches = patches[:, :, ::-1]
    return np.ascontiguousarray(patches)


def as_tensors(
    draw: Callable[..., np.ndarray], size: int | None
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Makes a function of integers that draws pairs a map for `tf.data`.

    Args:
        draw: returns blurred and sharp image, uint8 `(2, height, width, 3)`.
        size: of both sides, or `None` if images differ.

    Returns:
        A function that returns both as float32 tensors in [0, 1].
    """

    def load(*integers):
        pair = tf.numpy_function(draw, integers, tf.uint8)
        pair.set_shape([2, size, size, 3])
        blurred, sharp = tf.unstack(tf.cast(pair, tf.float32) / 255)
        return blurred, sharp

    return load
