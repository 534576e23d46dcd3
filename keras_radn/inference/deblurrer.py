import copy
import functools
import itertools
import os
import warnings
import weakref
from collections.abc import Callable

import keras
import numpy as np
from PIL import Image

from keras_radn.inference import tiling
from keras_radn.inference.multi_scale import (
    MOST_PIXELS,
    SCALES,
    multi_scale_ensemble,
)
from keras_radn.inference.network import as_function, self_ensemble
from keras_radn.models import RADN, inference_model
from keras_radn.models.packaged_weights import packaged_presets
from keras_radn.models.presets import DEFAULT_PRESET, DTYPES
from keras_radn.ops import backend
from keras_radn.pictures.picture import from_pil
from keras_radn.pictures.pixels import check_image, white
from keras_radn.pictures.reading import read_picture

Progress = Callable[[int, int], None]
Network = keras.Model | Callable | str

_PAGES = "use `keras_radn.deblur_files` with a .tif output"

# Dtype policies of Keras models, on backends without an inference form.
_POLICIES = {
    "auto": "float32",
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
}

# The weights of a RADN and its form with them, by dtype.
_forms = weakref.WeakKeyDictionary()


def deblur(
    image: np.ndarray | Image.Image | str | os.PathLike | bytes,
    model: "Deblurrer | Network | None" = None,
    *,
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
        model: a `Deblurrer`, which says with which network and how, or the
            `model` of one whose other arguments are the defaults.
        progress: called as `progress(done, total)` after each run of the
            network; see `Deblurrer.runs_per_tile`.

    Returns:
        An array of the shape and dtype of the input, or a PIL image; for a
        file in colour of more than 8 bits an array, as Pillow has no such
        images. Alpha is as it was, and what is gray in three channels stays
        gray.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if its format needs a package that is missing (HEIC).
        ValueError: if the file is not an image or has several pages, the number
            of channels, the dtype or the values are not as above, the memory is
            too small for the smallest tiles, or the network answers with
            images of another size, or with NaN or infinite pixels.
        TypeError: if `image` is of another type.

    Warns:
        RuntimeWarning: if the memory is too small for the tiles and the work
            begins again with smaller ones.

    Example:

    ```python
    sharp = keras_radn.deblur("blurred.jpg")  # a PIL image
    sharp.save("sharp.jpg")
    ```
    """
    deblurrer = Deblurrer.of(model)
    if isinstance(image, np.ndarray):
        return deblurrer(image, progress)
    if isinstance(image, Image.Image):
        picture = from_pil(image)
    elif isinstance(image, str | os.PathLike | bytes):
        picture = read_picture(image, _PAGES)
    else:
        raise TypeError(
            "`image` must be a NumPy array, a PIL image, a path or bytes. "
            f"Received: {type(image).__name__}"
        )
    picture = picture.with_pixels(deblurrer(picture.pixels, progress))
    return picture.to_pil() if picture.fits_pil else picture.array()


class Deblurrer:
    """Which network deblurs, and how: what all of this package deblurs with.

    A RADN in float32 or bfloat16 runs in its inference form, which is made
    again when its weights have changed; any other network runs as it is, and
    on JAX and PyTorch a RADN, too.

    Once the memory was too small for a size of tiles, the images that follow
    get smaller ones from the start.

    Args:
        model: a network of this package, any callable that maps a batch of
            images `(1, height, width, 3)`, float32 in [0, 1], to another, or
            the name of a preset with packaged weights; `None` is the default
            preset.
        dtype: what is computed in: `"float32"`, `"bfloat16"`, or `"auto"`,
            which is bfloat16 if the processor has instructions for it (AVX-512
            BF16, AMX): the pictures then differ from those of float32 by less
            than the rounding to 8 bits. What is not a RADN, or one in another
            dtype, is left in its own by `"auto"`, and must be in the given one
            otherwise; a RADN can be brought into either.
        ensemble: whether the network sees the picture in all 8 orientations
            and the mean of its answers is taken: the paper's Final+, for 8
            times the time.
        multi_scale: whether the network sees the picture at 4 scales, from 0.7
            to 2 times its sides, and what it corrects there is weighted, for
            8 to 10 times the time: better than `ensemble` where the blur is
            of few pixels. Not in the paper. Both can be joined.
        tile: the longest side of a tile in pixels; `"auto"`: as large as the
            memory allows, up to 2 megapixels, or half a megapixel with
            `multi_scale`; `None`: the whole image at once.
            The self-attention of the network sees a tile only.
        overlap: pixels over which neighbouring tiles are cross-faded, at most
            a third of a tile; `None`: 96, less for tiles of less than 288.
            This and `tile` are rounded up to multiples of 32.

    Raises:
        ValueError: if an argument has another value.

    Example:

    ```python
    from keras_radn.inference import Deblurrer

    deblurrer = Deblurrer("lite", ensemble=True)
    sharp = deblurrer(image)  # an array
    ```
    """

    def __init__(
        self,
        model: Network | None = None,
        *,
        dtype: str = "auto",
        ensemble: bool = False,
        multi_scale: bool = False,
        tile: int | str | None = "auto",
        overlap: int | None = None,
    ):
        self.model = DEFAULT_PRESET if model is None else model
        self.dtype = dtype
        self.ensemble = ensemble
        self.multi_scale = multi_scale
        self.tile, self.overlap = tiling.aligned_tile(tile, overlap)
        self._max_pixels = None
        _check_model(self.model)
        _check_dtype(self.model, dtype)

    @classmethod
    def of(cls, model: "Deblurrer | Network | None") -> "Deblurrer":
        """What functions take as `model`: a `Deblurrer`, or the model of one.

        Args:
            model: returned if it is a `Deblurrer`, else its `model`.
        """
        return model if isinstance(model, cls) else cls(model)

    @property
    def network(self) -> Callable:
        """What runs: see the class. It is made when it is first needed."""
        if isinstance(self.model, str):
            return _packaged(self.model, self.dtype)
        if _runs_as_it_is(self.model, self.dtype):
            return self.model
        return _form(self.model, self.dtype)

    @property
    def runs_per_tile(self) -> int:
        """How often the network sees each tile, at one scale or another."""
        orientations = 8 if self.ensemble else 1
        return orientations * (len(SCALES) if self.multi_scale else 1)

    def without_ensembles(self) -> "Deblurrer":
        """The same network and tiles, with one run for each tile."""
        return Deblurrer(
            self.model, dtype=self.dtype, tile=self.tile, overlap=self.overlap
        )

    def resolved(self) -> "Deblurrer":
        """The same with the network that runs now, for the frames of a video.

        Weights that change later do not change what it does to a RADN in its
        inference form, and are not compared for every image.
        """
        resolved = copy.copy(self)
        resolved.model, resolved.dtype = self.network, "auto"
        return resolved

    def __call__(
        self, image: np.ndarray, progress: Progress | None = None
    ) -> np.ndarray:
        """Deblurs an array; see `deblur`."""
        check_image(image)
        height, width = image.shape[:2]
        pixels = image if image.ndim == 3 else image[..., np.newaxis]
        result = np.array(image, order="C")  # alpha stays as it is
        sharp = result.reshape(pixels.shape)
        if pixels.shape[2] in (2, 4):
            pixels, sharp = pixels[..., :-1], sharp[..., :-1]
        if _is_gray(pixels):
            pixels = pixels[..., :1]
        # Before the memory for tiles is measured.
        network = self.network
        while True:
            grid = self.grid(height, width)
            try:
                self._run(network, grid, pixels, sharp, progress)
                return result
            except Exception as error:
                if not backend.is_out_of_memory(error):
                    raise
                self._shrink(grid, (height, width), error)

    def __str__(self) -> str:
        network = self.network
        name = self.model if isinstance(self.model, str) else None
        name = name or getattr(self.model, "name", type(self.model).__name__)
        dtype = _dtype_of(network) or "a dtype of its own"
        form = "" if network is self.model else "the inference form of "
        ensembles = [
            word.replace("_", "-")
            for word in ("ensemble", "multi_scale")
            if getattr(self, word)
        ]
        return ", ".join([f"{form}{name} in {dtype}", *ensembles])

    def grid(self, height: int, width: int) -> tiling.Grid:
        """The tiles of an image of this size, in the memory that is free."""
        limit = self._max_pixels
        if self.tile == "auto":
            affordable = tiling.affordable_pixels()
            if self.multi_scale:
                affordable = int(affordable / MOST_PIXELS)
            limit = min(affordable, limit or affordable)
        elif limit is None:
            side = self.tile or tiling.aligned(max(height, width))
            return tiling.square_grid(height, width, side, self.overlap)
        return tiling.plan_grid(height, width, limit, self.overlap)

    def _shrink(self, grid, size, error):
        self._max_pixels = grid.tile_pixels // 2
        smaller = self.grid(*size)
        if smaller.tile_pixels >= grid.tile_pixels:
            raise ValueError(
                "There is not enough memory for tiles of "
                f"{grid.columns.tile}x{grid.rows.tile} pixels of an image of "
                f"{size[1]}x{size[0]}; close other programs, or lower "
                "`overlap`, of which a tile has three at least."
            ) from error
        warnings.warn(
            "The memory was not enough for tiles of "
            f"{grid.columns.tile}x{grid.rows.tile} pixels; going on with "
            f"{smaller.columns.tile}x{smaller.rows.tile}.",
            RuntimeWarning,
            stacklevel=2,
        )

    def _run(self, network, grid, pixels, sharp, progress):
        """Deblurs colors, or what is gray in one channel, into `sharp`."""
        network = as_function(network, self._counter(grid, progress))
        if self.ensemble:
            network = functools.partial(self_ensemble, network)
        if self.multi_scale:
            network = functools.partial(multi_scale_ensemble, network)
        whole = len(grid) == 1
        gray = pixels.shape[2] == 1
        scale = white(pixels.dtype)
        blend = tiling.Blend(grid)
        for y, x in grid:
            # The network pads a whole image by itself.
            tile = pixels if whole else tiling.padded_tile(pixels, grid, y, x)
            tile = tile.astype("float32") / scale
            answer = network(np.repeat(tile, 3, axis=-1) if gray else tile)
            if gray:
                answer = answer.mean(axis=-1, keepdims=True)
            blended = (0, answer) if whole else blend.add(answer)
            if blended is not None:
                top, band = blended
                band = np.clip(band, 0, 1) * scale
                if scale != 1:
                    np.rint(band, out=band)
                sharp[top : top + len(band)] = band

    def _counter(self, grid, progress):
        if progress is None:
            return None
        runs, total = itertools.count(1), len(grid) * self.runs_per_tile
        return lambda: progress(next(runs), total)


def _runs_as_it_is(model, dtype):
    """Whether a network runs itself, and no other form of it."""
    if not isinstance(model, RADN):
        return True
    if not backend.INFERENCE_FORM:
        return dtype in ("auto", model.compute_dtype)
    if dtype != "auto":
        return False
    # The variables of replicas are read by the rules of their strategy.
    return model.compute_dtype not in DTYPES or backend.replicas_of(model) > 1


@functools.cache
def _packaged(preset, dtype):
    if backend.INFERENCE_FORM:
        return inference_model(preset, dtype)
    return RADN.from_preset(preset, pretrained=True, dtype=_POLICIES[dtype])


def _form(model, dtype):
    """The form with the current weights, made once for them."""
    forms = _forms.setdefault(model, {})
    weights, form = forms.get(dtype, ((), None))
    current = model.get_weights()
    if form is None or not all(map(np.array_equal, weights, current)):
        form = _made(model, dtype)
        forms[dtype] = current, form
    return form


def _made(model, dtype):
    if backend.INFERENCE_FORM:
        return inference_model(model, dtype)
    config = {**model.get_config(), "dtype": _POLICIES[dtype]}
    copy = RADN.from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def _check_model(model):
    packaged = packaged_presets(RADN)
    is_name = isinstance(model, str)
    if (is_name and model not in packaged) or not (is_name or callable(model)):
        raise ValueError(
            "`model` must be a network, a function of images, or a preset "
            f"with packaged weights ({', '.join(packaged)}). "
            f"Received: {model!r}"
        )


def _check_dtype(model, dtype):
    if dtype != "auto" and dtype not in DTYPES:
        raise ValueError(
            f"`dtype` must be one of {DTYPES} or 'auto'. Received: {dtype!r}"
        )
    if dtype == "auto" or isinstance(model, RADN | str):
        return
    own = _dtype_of(model)
    if own != dtype:
        raise ValueError(
            "Only a RADN can be brought into another dtype; leave `dtype` at "
            f"'auto'. Received: dtype={dtype!r} and a {type(model).__name__} "
            f"that computes in {own or 'a dtype of its own'}."
        )


def _dtype_of(network):
    return getattr(network, "compute_dtype", getattr(network, "dtype", None))


def _is_gray(pixels):
    """Whether colors are all gray, to which a network would give a hue."""
    gray = pixels[..., :1]
    return pixels.shape[2] == 3 and bool(np.all(pixels == gray))
