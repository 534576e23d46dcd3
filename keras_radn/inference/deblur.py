import functools
import os
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_radn.inference import tiling
from keras_radn.inference.multi_scale import (
    MOST_PIXELS,
    SCALES,
    multi_scale_ensemble,
)
from keras_radn.inference.network import as_function, self_ensemble
from keras_radn.inference.pictures import from_pil
from keras_radn.inference.reading import read_picture
from keras_radn.models import RADN, inference_model

DEFAULT_PRESET = "radn_final"

_FULL_SCALE = {"uint8": 255, "uint16": 65535}

# Pixels of a cross-fade.
_OVERLAP = 96

Progress = Callable[[int, int], None]


def deblur(
    image: np.ndarray | Image.Image | str | os.PathLike | bytes,
    model: keras.Model | Callable | None = None,
    *,
    dtype: str = "auto",
    ensemble: bool = False,
    multi_scale: bool = False,
    tile: int | str | None = "auto",
    overlap: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray | Image.Image:
    """Removes motion blur from a picture.

    Args:
        image: one of
            - an array `(height, width, 3)` in RGB, or `(height, width)` or
              `(height, width, 1)` in gray; with an alpha channel `(height,
              width, 4)` or `(height, width, 2)`; uint8, uint16, or floats in
              [0, 1];
            - a PIL image;
            - the path of an image file, or its bytes; the EXIF orientation is
              applied.
        model: a network of this package, or any callable that maps a batch
            of images `(1, height, width, 3)`, float32 in [0, 1], to another;
            `None` is the packaged network in its inference form, made once
            per dtype.
        dtype: what the packaged network computes in: `"float32"`,
            `"bfloat16"`, or `"auto"`: bfloat16 if the processor has
            instructions for it (AVX-512 BF16, AMX). Its pictures differ from
            those of float32 by less than the rounding to 8 bits.
        ensemble: whether the network sees the picture in all 8 orientations
            and the mean of its answers is taken: the paper's Final+, for 8
            times the time.
        multi_scale: whether the network sees the picture at 4 scales, from 0.7
            to 2 times its sides, and what it corrects there is weighted, for
            8 to 9 times the time: mostly better than `ensemble`, most of all
            where the blur is of few pixels. Not in the paper. Both can be
            joined.
        tile: the longest side of a tile in pixels; `"auto"`: as large as the
            memory allows, up to 2 megapixels; `None`: the whole image at once.
            The self-attention of the network sees a tile only.
        overlap: pixels over which neighbouring tiles are cross-faded, at most
            a third of a tile; `None`: 96, less for tiles of less than 288.
            This and `tile` are rounded up to multiples of 32.
        progress: called as `progress(done, total)` after each run of the
            network: one per tile; 8 times as many with `ensemble`, 4 times with
            `multi_scale`.

    Returns:
        An array of the shape and dtype of the input, or a PIL image; for a
        file in colour of more than 8 bits an array, as Pillow has no such
        images. Alpha is as it was.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image or an animation, the number of
            channels, the dtype or the values are not as above, or the memory
            is too small for the smallest tiles.
        TypeError: if `image` is none of these.

    Warns:
        RuntimeWarning: if the memory is too small for the tiles and the work
            begins again with smaller ones.

    Example:

    ```python
    sharp = keras_radn.deblur("blurred.jpg")  # a PIL image
    sharp.save("sharp.jpg")
    ```
    """
    deblurrer = Deblurrer(
        model,
        dtype=dtype,
        ensemble=ensemble,
        multi_scale=multi_scale,
        tile=tile,
        overlap=overlap,
    )
    if isinstance(image, np.ndarray):
        return deblurrer(image, progress)
    if isinstance(image, Image.Image):
        picture = from_pil(image)
    elif isinstance(image, str | os.PathLike | bytes):
        picture = read_picture(image)
    else:
        raise TypeError(
            "`image` must be a NumPy array, a PIL image, a path or bytes. "
            f"Received: {type(image).__name__}"
        )
    picture = picture.with_pixels(deblurrer(picture.pixels, progress))
    return picture.to_pil() if picture.fits_pil else picture.array()


class Deblurrer:
    """A network and how images are fed to it, for many images.

    Once the memory was too small for a size of tiles, the images that follow
    get smaller ones from the start.

    Args:
        model: see `deblur`.
        dtype: see `deblur`.
        ensemble: see `deblur`.
        multi_scale: see `deblur`.
        tile: see `deblur`.
        overlap: see `deblur`.

    Raises:
        ValueError: if `tile` or `overlap` is not as `deblur` wants it.

    Example:

    ```python
    from keras_radn.inference import Deblurrer

    deblurrer = Deblurrer(ensemble=True)
    sharp = deblurrer(image)  # an array
    ```
    """

    def __init__(
        self,
        model: keras.Model | Callable | None = None,
        *,
        dtype: str = "auto",
        ensemble: bool = False,
        multi_scale: bool = False,
        tile: int | str | None = "auto",
        overlap: int | None = None,
    ):
        if tile not in ("auto", None) and not _is_count(tile, 1):
            raise ValueError(
                "`tile` must be a positive number of pixels, 'auto' or None. "
                f"Received: {tile!r}"
            )
        self.tile = tile if tile in ("auto", None) else _aligned(tile)
        if overlap is None:
            third = self.tile // 3 if isinstance(self.tile, int) else _OVERLAP
            overlap = min(
                _OVERLAP, third // tiling.ALIGNMENT * tiling.ALIGNMENT
            )
        if not _is_count(overlap, 0):
            raise ValueError(
                "`overlap` must be a number of pixels, at least 0. Received: "
                f"{overlap!r}"
            )
        self.overlap = _aligned(overlap)
        if isinstance(self.tile, int) and 3 * self.overlap > self.tile:
            raise ValueError(
                "`overlap` must be at most a third of `tile`. Received: "
                f"overlap={overlap}, tile={tile}; with multiples of 32, "
                f"{self.overlap} and {self.tile}"
            )
        self._model = model
        self.dtype = dtype
        self.ensemble = ensemble
        self.multi_scale = multi_scale
        self._max_pixels = None

    @property
    def model(self) -> keras.Model | Callable:
        """The network; the packaged one is made when it is needed first."""
        if self._model is None:
            self._model = default_model(self.dtype)
        return self._model

    @property
    def runs_per_tile(self) -> int:
        """How often the network sees each tile, at one scale or another."""
        orientations = 8 if self.ensemble else 1
        return orientations * (len(SCALES) if self.multi_scale else 1)

    def __call__(
        self, image: np.ndarray, progress: Progress | None = None
    ) -> np.ndarray:
        """Deblurs an array; see `deblur`."""
        scale = white_level(image)
        if image.ndim == 3 and image.shape[2] in (2, 4):
            sharp = self._deblur(image[..., :-1], scale, progress)
            return np.concatenate([sharp, image[..., -1:]], axis=-1)
        pixels = image if image.ndim == 3 else image[..., np.newaxis]
        return self._deblur(pixels, scale, progress).reshape(image.shape)

    def _deblur(self, pixels, scale, progress):
        while True:
            grid = self.grid(*pixels.shape[:2])
            try:
                return self._run(grid, pixels, scale, progress)
            except (tf.errors.ResourceExhaustedError, MemoryError) as error:
                self._shrink(grid, pixels.shape[:2], error)

    def grid(self, height: int, width: int) -> tiling.Grid:
        """The tiles of an image of this size, in the memory that is free."""
        limit = self._max_pixels
        if self.tile == "auto":
            affordable = tiling.affordable_pixels()
            if self.multi_scale:
                affordable = int(affordable / MOST_PIXELS)
            limit = min(affordable, limit or affordable)
        elif limit is None:
            side = self.tile or _aligned(max(height, width))
            return tiling.square_grid(height, width, side, self.overlap)
        return tiling.plan_grid(height, width, limit, self.overlap)

    def _shrink(self, grid, size, error):
        self._max_pixels = grid.tile_pixels // 2
        smaller = self.grid(*size)
        if smaller.tile_pixels >= grid.tile_pixels:
            raise ValueError(
                "There is not enough memory for tiles of "
                f"{grid.columns.tile}x{grid.rows.tile} pixels of an image of "
                f"{size[1]}x{size[0]}; close other programs."
            ) from error
        warnings.warn(
            "The memory was not enough for tiles of "
            f"{grid.columns.tile}x{grid.rows.tile} pixels; going on with "
            f"{smaller.columns.tile}x{smaller.rows.tile}.",
            RuntimeWarning,
            stacklevel=2,
        )

    def _run(self, grid, pixels, scale, progress):
        network = as_function(self.model)
        if progress is not None:
            total = len(grid) * self.runs_per_tile
            network = _counted(network, total, progress)
        if self.ensemble:
            network = functools.partial(self_ensemble, network)
        if self.multi_scale:
            network = functools.partial(multi_scale_ensemble, network)
        whole = len(grid) == 1

        def tile_at(y, x):
            # The network pads a whole image by itself.
            tile = pixels if whole else tiling.padded_tile(pixels, grid, y, x)
            tile = tile.astype("float32") / scale
            gray = tile.shape[-1] == 1
            tile = np.repeat(tile, 3, axis=-1) if gray else tile
            sharp = network(tile)
            return sharp.mean(axis=-1, keepdims=True) if gray else sharp

        result = np.empty(pixels.shape, pixels.dtype)
        bands = [(0, tile_at(0, 0))] if whole else None
        for y, band in bands or tiling.blended_rows(grid, tile_at):
            band = np.clip(band, 0, 1) * scale
            if scale != 1:
                np.rint(band, out=band)
            result[y : y + len(band)] = band
        return result


@functools.cache
def default_model(dtype: str = "auto") -> Callable:
    """The packaged network in its inference form, made once per dtype."""
    return inference_model(DEFAULT_PRESET, dtype)


def for_inference(model: keras.Model, dtype: str = "auto") -> Callable:
    """A RADN in its inference form, another model as it is.

    Args:
        model: any model of images.
        dtype: see `inference_model`; other models have a dtype of their own.
    """
    return inference_model(model, dtype) if isinstance(model, RADN) else model


def _counted(network, total, progress):
    done = 0

    def run(image):
        nonlocal done
        answer = network(image)
        done += 1
        progress(done, total)
        return answer

    return run


def _is_count(value, least):
    is_integer = isinstance(value, int | np.integer)
    return is_integer and not isinstance(value, bool) and value >= least


def _aligned(size):
    return -(-int(size) // tiling.ALIGNMENT) * tiling.ALIGNMENT


def white_level(array: np.ndarray) -> int:
    """The value of white in an image, by its dtype.

    Raises:
        ValueError: if the array is no image as `deblur` takes it.
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(
            "The image must be a NumPy array here, such as "
            "np.asarray(PIL.Image.open(path)). Received: "
            f"{type(array).__name__}"
        )
    if (
        array.ndim not in (2, 3)
        or (array.ndim == 3 and not 1 <= array.shape[2] <= 4)
        or array.size == 0
    ):
        raise ValueError(
            "An image array must have the shape (height, width, 3) in RGB or "
            "(height, width) in gray, or (height, width, 4 or 2) with alpha. "
            f"Received: shape {array.shape}"
        )
    if array.dtype.name in _FULL_SCALE:
        return _FULL_SCALE[array.dtype.name]
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            "An image array must be uint8, uint16 or floating point. "
            f"Received: dtype {array.dtype}"
        )
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        raise ValueError(
            "The image contains NaN or infinite pixels; replace them first."
        )
    if low < 0 or high > 1:
        raise ValueError(
            "A floating-point image must be in [0, 1]. Received: values from "
            f"{low:g} to {high:g}"
        )
    return 1
