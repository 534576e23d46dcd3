"""Images as batches of their patches, and back."""

import keras
from keras import ops

Grid = tuple[int, int]


@keras.saving.register_keras_serializable("keras_radn")
class CutPatches(keras.layers.Layer):
    """Cuts images into a grid of patches that do not overlap.

    Args:
        grid: rows and columns of patches.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`; the grid divides height
    and width.

    Output shape: `(batch * rows * columns, height / rows, width / columns,
    channels)`: the patches of an image follow each other, row by row.
    """

    def __init__(self, grid: Grid, **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def call(self, inputs):
        rows, columns = self.grid
        _, height, width, channels = ops.shape(inputs)
        height, width = height // rows, width // columns
        x = ops.reshape(inputs, (-1, rows, height, columns, width, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        rows, columns = self.grid
        return (
            batch and batch * rows * columns,
            *(n and n // m for n, m in zip(sides, self.grid, strict=True)),
            channels,
        )

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}


@keras.saving.register_keras_serializable("keras_radn")
class JoinPatches(keras.layers.Layer):
    """Joins neighbours in a grid of patches to fewer and larger ones.

    Undoes `CutPatches`, as far as is asked for.

    Args:
        grid: rows and columns of patches that the input has.
        joined: rows and columns of the output; they divide those of `grid`.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch * patches, height, width, channels)`.

    Output shape: `(batch * fewer patches, larger height, larger width,
    channels)`.
    """

    def __init__(self, grid: Grid, joined: Grid, **kwargs):
        super().__init__(**kwargs)
        self.grid, self.joined = tuple(grid), tuple(joined)

    def call(self, inputs):
        _, height, width, channels = ops.shape(inputs)
        down, across = self._neighbours()
        rows, columns = self.joined
        shape = (-1, rows, down, columns, across, height, width, channels)
        x = ops.transpose(ops.reshape(inputs, shape), (0, 1, 3, 2, 5, 4, 6, 7))
        return ops.reshape(x, (-1, down * height, across * width, channels))

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        down, across = self._neighbours()
        return (
            batch and batch // (down * across),
            *(n and n * m for n, m in zip(sides, (down, across), strict=True)),
            channels,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "grid": self.grid,
            "joined": self.joined,
        }

    def _neighbours(self):
        return [n // m for n, m in zip(self.grid, self.joined, strict=True)]
