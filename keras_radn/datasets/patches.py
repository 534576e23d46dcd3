import bisect
import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_radn.datasets.camera import BlurStrength

ORIENTATIONS = 8  # by flips and right angles


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
        """A copy with another blur, which shares the pictures in memory."""
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
    turn = int(rng.integers(ORIENTATIONS))
    return np.ascontiguousarray(orient(np.stack(pair), turn))


def orient(pair: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight orientations of a pair.

    Args:
        pair: `(2, size, size, 3)`.
        turn: which, from 0 (as it is) to 7.

    Returns:
        A view of the same shape.
    """
    pair = np.rot90(pair, turn % 4, axes=(1, 2))
    return pair[:, :, ::-1] if turn >= 4 else pair
