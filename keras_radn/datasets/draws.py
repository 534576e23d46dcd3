"""Which patches a stream consists of, whoever draws them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_radn.datasets.patches import (
    ORIENTATIONS,
    PatchSource,
    augment,
)

# Batches among which the uses of a patch are spread.
GROUP = 32


@dataclasses.dataclass(frozen=True)
class Draws:
    """The patches of a stream, each a function of the seed and its index.

    Attributes:
        sources: where the patches come from.
        shares: share of each source, adding up to 1.
        patch_size: side of the patches in pixels.
        batch_size: patches per batch.
        seed: non-negative integer.
        balance: see `keras_radn.datasets.patch_dataset`.
        repeats: see `keras_radn.datasets.patch_dataset`.

    Raises:
        ValueError: if shares and sources do not fit together, or `repeats` is
            not in 1 to 8.
    """

    sources: Sequence[PatchSource]
    shares: Sequence[float]
    patch_size: int = 256
    batch_size: int = 16
    seed: int = 0
    balance: float = 0.0
    repeats: int = 1

    def __post_init__(self):
        if (
            len(self.sources) != len(self.shares)
            or min(self.shares) < 0
            or not np.isclose(sum(self.shares), 1, atol=1e-3)
        ):
            raise ValueError(
                "`shares` must have a number for each source, none of them "
                "negative, and add up to 1. Received: "
                f"{len(self.sources)} sources, shares={list(self.shares)}"
            )
        if self.repeats not in range(1, ORIENTATIONS + 1):
            raise ValueError(
                f"`repeats` must be an integer from 1 to {ORIENTATIONS}, the "
                f"number of orientations. Received: {self.repeats!r}"
            )

    def draw(self, index: int) -> np.ndarray:
        """A patch: blurred and sharp, uint8 `(2, size, size, 3)`."""
        rng = np.random.default_rng([self.seed, int(index)])
        shares = np.divide(self.shares, sum(self.shares))
        source = self.sources[int(rng.choice(len(self.sources), p=shares))]
        return augment(source.sample(rng, self.patch_size), rng)

    def draws_of_group(self, part: int) -> int:
        """How many patches are drawn for 32 batches.

        Args:
            part: patches that a batch takes from this stream.
        """
        return -(-GROUP * part // self.repeats)

    def arrangement(
        self, group: int, part: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which of the patches that were drawn for 32 batches come when.

        Args:
            group: number of the 32 batches.
            part: patches that a batch takes from this stream.

        Returns:
            For each patch of the batches its place among those drawn, and its
            orientation: integers, `(32 * part,)` each.
        """
        rng = np.random.default_rng([self.seed, int(group), self.repeats])
        count = self.draws_of_group(part)
        slots = rng.permutation(count * self.repeats)[: GROUP * part]
        turns = np.array(
            [
                rng.permutation(ORIENTATIONS)[: self.repeats]
                for _ in range(count)
            ]
        )
        return slots // self.repeats, turns.ravel()[slots]
