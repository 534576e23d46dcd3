"""Images in tiles of equal size whose seams are cross-faded.

A tile starts at a multiple of 32 pixels, the largest window of the context
aggregation, so that all poolings of the network see the same windows as in the
whole image. What a tile cannot see is the rest of the image: the network's
self-attention relates all positions of a tile, not of the image.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_radn.system.memory import available_bytes

# Strides and pooling windows of the networks divide it.
ALIGNMENT = 32

# The largest tile that is chosen automatically. In larger ones a self-attention
# without windows, whose time grows with the square of the pixels, costs more
# than it gives, and the time would no longer grow linearly with the image.
MAX_TILE_PIXELS = 2**21

# Pixels of a cross-fade.
_OVERLAP = 96

# Twice that of RADN(Final) in float32 above the loaded model
# (benchmarks/tiling.py): TensorFlow keeps freed memory, and the other networks
# need more.
_BYTES_PER_PIXEL = 700

# The rest is for the picture, its file and other programs.
_SHARE_OF_MEMORY = 0.5


def aligned_tile(
    tile: int | str | None, overlap: int | None
) -> tuple[int | str | None, int]:
    """The tile and overlap of a `Deblurrer`, in multiples of 32 pixels.

    Args:
        tile: longest side of a tile in pixels, `"auto"` or `None`.
        overlap: pixels of a cross-fade; `None`: 96, at most a third of a tile.

    Returns:
        Both, rounded up.

    Raises:
        ValueError: if they have other values, or the overlap is more than a
            third of the tile.
    """
    if tile not in ("auto", None) and not _is_count(tile, 1):
        raise ValueError(
            "`tile` must be a positive number of pixels, 'auto' or None. "
            f"Received: {tile!r}"
        )
    side = tile if tile in ("auto", None) else aligned(tile)
    if overlap is None:
        third = side // 3 if isinstance(side, int) else _OVERLAP
        overlap = min(_OVERLAP, third // ALIGNMENT * ALIGNMENT)
    if not _is_count(overlap, 0):
        raise ValueError(
            "`overlap` must be a number of pixels, at least 0. Received: "
            f"{overlap!r}"
        )
    fade = aligned(overlap)
    if isinstance(side, int) and 3 * fade > side:
        raise ValueError(
            "`overlap` must be at most a third of `tile`. Received: "
            f"overlap={overlap}, tile={tile}; with multiples of {ALIGNMENT}, "
            f"{fade} and {side}"
        )
    return side, fade


def aligned(size: int) -> int:
    """A number of pixels, rounded up to a multiple of 32."""
    return -(-int(size) // ALIGNMENT) * ALIGNMENT


def _is_count(value, least):
    is_integer = isinstance(value, int | np.integer)
    return is_integer and not isinstance(value, bool) and value >= least


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of an image.

    Attributes:
        size: pixels of the image.
        tile: pixels of a tile.
        starts: first pixel of each tile; multiples of 32, ascending.
        fade: pixels of the cross-fade between two neighbours.
    """

    size: int
    tile: int
    starts: tuple[int, ...]
    fade: int

    def weights(self, index: int) -> np.ndarray:
        """How much a tile counts at each of its pixels, float32 `(tile,)`.

        The weights of all tiles are 1 in sum at every pixel of the image, and
        a raised cosine in the middle of each overlap.
        """
        weights = np.ones(self.tile, "float32")
        for left in (index - 1, index):
            if not 0 <= left < len(self.starts) - 1:
                continue
            overlap_start = self.starts[left + 1]
            overlap_end = self.starts[left] + self.tile
            middle = (overlap_start + overlap_end) / 2 - self.starts[index]
            distance = np.arange(self.tile) + 0.5 - middle
            position = distance / max(self.fade, 1)
            rising = 0.5 + 0.5 * np.sin(np.pi * np.clip(position, -0.5, 0.5))
            weights *= rising if left < index else 1 - rising
        return weights


def plan_axis(size: int, tile: int, overlap: int) -> Axis:
    """Tiles of equal size along a side.

    Args:
        size: pixels of the image.
        tile: pixels that a tile may have at most, a multiple of 32.
        overlap: pixels that neighbours share at least, a multiple of 32, at
            most a third of `tile`.

    Returns:
        As few tiles as possible, and these as small as possible.
    """
    whole = -(-size // ALIGNMENT)
    shared, largest = overlap // ALIGNMENT, tile // ALIGNMENT
    if whole <= largest:
        return Axis(size, whole * ALIGNMENT, (0,), overlap)
    count = -(-(whole - shared) // (largest - shared))
    smallest = -(-(whole + (count - 1) * shared) // count)
    starts = tuple(
        i * (whole - smallest) // (count - 1) * ALIGNMENT for i in range(count)
    )
    return Axis(size, smallest * ALIGNMENT, starts, overlap)


@dataclass(frozen=True)
class Grid:
    """Tiles of an image: rows and columns.

    Iterating gives the first pixel `(y, x)` of each tile, row by row.
    """

    rows: Axis
    columns: Axis

    def __len__(self):
        return len(self.rows.starts) * len(self.columns.starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return itertools.product(self.rows.starts, self.columns.starts)

    @property
    def tile_pixels(self) -> int:
        return self.rows.tile * self.columns.tile

    @property
    def has_strips(self) -> bool:
        """Whether the image is cut so that tiles see little to the sides."""
        short, long = sorted((self.rows, self.columns), key=lambda a: a.tile)
        return len(short.starts) > 1 and long.tile > 2 * short.tile


def plan_grid(height: int, width: int, max_pixels: int, overlap: int) -> Grid:
    """The grid that computes the fewest pixels in tiles of a limited size.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        max_pixels: of a tile. Tiles have a side of three overlaps at least
            and may then have more.
        overlap: pixels that neighbours share at least; a multiple of 32.

    Returns:
        A grid; of one tile if the image fits. Tiles are strips only if no
        others are small enough.
    """
    least = max(3 * overlap, ALIGNMENT)
    whole = aligned(height)

    def grid_of(tile_height):
        rows = plan_axis(height, tile_height, overlap)
        tile_width = max_pixels // rows.tile // ALIGNMENT * ALIGNMENT
        return Grid(rows, plan_axis(width, max(tile_width, least), overlap))

    def cost(grid):
        excess = max(grid.tile_pixels - max_pixels, 0)
        computed = len(grid) * grid.tile_pixels
        return excess, grid.has_strips, computed, len(grid)

    heights = range(min(whole, least), max(whole, least) + 1, ALIGNMENT)
    return min(map(grid_of, heights), key=cost)


def square_grid(height: int, width: int, tile: int, overlap: int) -> Grid:
    """The grid of tiles whose sides have at most `tile` pixels.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        tile: a multiple of 32.
        overlap: pixels that neighbours share at least; a multiple of 32, at
            most a third of `tile`.
    """
    return Grid(
        plan_axis(height, tile, overlap), plan_axis(width, tile, overlap)
    )


def affordable_pixels() -> int:
    """Pixels of the largest tile that the free memory is enough for.

    Returns:
        A number of pixels, at most `MAX_TILE_PIXELS`.
    """
    memory = _SHARE_OF_MEMORY * available_bytes()
    return min(int(memory / _BYTES_PER_PIXEL), MAX_TILE_PIXELS)


class Blend:
    """Puts tiles together, row of tiles by row of tiles.

    Only the rows of the image that a row of tiles covers are in memory as
    floats.

    Args:
        grid: the tiles.
    """

    def __init__(self, grid: Grid):
        self._grid = grid
        self._tiles = 0
        self._band = self._above = None

    def add(self, tile: np.ndarray) -> tuple[int, np.ndarray] | None:
        """Takes the next tile, in the order of the grid.

        Args:
            tile: float32 `(grid.rows.tile, grid.columns.tile, channels)`.

        Returns:
            None until a row of tiles is complete, then `(y, band)`: the first
            row of a band of the image and the band, float32 `(some rows,
            width, channels)`. Bands follow each other and together are the
            image.
        """
        rows, columns = self._grid.rows, self._grid.columns
        i, j = divmod(self._tiles, len(columns.starts))
        self._tiles += 1
        if j == 0:
            shape = rows.tile, columns.size, tile.shape[-1]
            self._band = np.zeros(shape, "float32")
        left = columns.starts[j]
        covered = self._band[:, left : left + columns.tile]
        weights = columns.weights(j)[: covered.shape[1], np.newaxis]
        covered += tile[:, : covered.shape[1]] * weights
        if j + 1 < len(columns.starts):
            return None
        band, top = self._band, rows.starts[i]
        band *= rows.weights(i)[:, np.newaxis, np.newaxis]
        if self._above is not None:
            band[: len(self._above)] += self._above
        end = (*rows.starts, rows.size)[i + 1]
        self._above = band[end - top :]
        return top, band[: end - top]


def padded_tile(image: np.ndarray, grid: Grid, y: int, x: int) -> np.ndarray:
    """The pixels of a tile, mirrored where it reaches beyond the image.

    As the networks do it, at the bottom and right only.

    Args:
        image: `(height, width, channels)`.
        grid: its tiles.
        y: first row of the tile.
        x: first column of the tile.

    Returns:
        A view or copy `(grid.rows.tile, grid.columns.tile, channels)`.
    """
    height, width = image.shape[:2]
    bottom, right = y + grid.rows.tile, x + grid.columns.tile
    # Mirrored about the last pixel of the image, which the tile has.
    tile = image[y:bottom, x:right]
    padding = (0, max(bottom - height, 0)), (0, max(right - width, 0)), (0, 0)
    return np.pad(tile, padding, "reflect") if any(map(any, padding)) else tile
