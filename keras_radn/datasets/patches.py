from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf


class PatchSource(Protocol):
    """Where pairs of patches come from."""

    def sample(
        self, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Blurred and sharp patch, uint8 `(size, size, 3)`."""


def patch_dataset(
    sources: Sequence[PatchSource],
    shares: Sequence[float],
    patch_size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    first_batch: int = 0,
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

    Returns:
        A dataset of `(blurred, sharp)`, float32
        `(batch_size, patch_size, patch_size, 3)` in [0, 1].

    Raises:
        ValueError: if shares and sources do not fit together.
    """
    if len(sources) != len(shares) or not np.isclose(sum(shares), 1):
        raise ValueError(
            "`shares` must have a number for each source and add up to 1. "
            f"Received: {len(sources)} sources, shares={list(shares)}"
        )

    def draw(index):
        rng = np.random.default_rng([seed, int(index)])
        source = sources[int(rng.choice(len(sources), p=shares))]
        return augment(source.sample(rng, patch_size), rng)

    last = np.iinfo(np.int64).max
    return (
        tf.data.Dataset.range(first_batch * batch_size, last)
        .map(
            as_tensors(draw, patch_size),
            num_parallel_calls=2,
            deterministic=True,
        )
        .batch(batch_size, drop_remainder=True)
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
