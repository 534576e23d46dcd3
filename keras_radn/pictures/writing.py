"""Writing pictures so that no quality and no metadata are lost on the way."""

import contextlib
import io
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_radn.files import written_beside
from keras_radn.pictures import jpeg, png
from keras_radn.pictures.metadata_writing import held
from keras_radn.pictures.picture import Picture
from keras_radn.pictures.pixels import in_depth
from keras_radn.pictures.reading import register_heif
from keras_radn.pictures.tiff_writing import TiffWriter

# Qualities of lossy formats; a JPEG source is written with its own at least.
DEFAULT_QUALITY = 95
LEAST_QUALITY = 90

# What can be written, and the suffixes. Not GIF, which has only 256 colors.
_SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2",),
    "PPM": (".ppm", ".pgm", ".pnm"),
}
_FORMATS = {s: format_ for format_, list_ in _SUFFIXES.items() for s in list_}
# BMP's would be opaque for every reader.
_WITHOUT_ALPHA = ("JPEG", "PPM", "BMP")


def output_format(path: str | os.PathLike) -> str:
    """Pillow's name of the format of a path's suffix.

    Raises:
        ValueError: if images of this kind cannot be written.
        ImportError: if it is HEIC and pillow-heif is not installed.
    """
    suffix = Path(path).suffix.lower()
    format_ = _FORMATS.get(suffix)
    if format_ is None:
        raise ValueError(
            f"{path}: the suffix {suffix!r} is not an image format that can be "
            "written; use .png, .jpg, .webp or .tif. A new folder has to end "
            "in a slash."
        )
    if format_ == "HEIF":
        register_heif()
    return format_


class PageWriter:
    """Writes a picture file: one picture, or the pages of a TIFF file.

    A context manager. The file is written beside its place and renamed when
    the block ends; if that ends with an error, nothing is left.

    Args:
        path: where to write; the suffix chooses the format.
        quality: 1 to 100, of JPEG, WebP, HEIC and AVIF. `None`: at least that
            of a JPEG source and at least 90; 95 for other sources, and
            lossless WebP stays so.
        force: whether an existing file is replaced.

    Attributes:
        notes: sentences on what the format could not hold.

    Raises:
        ValueError: if no format has the suffix; at the end, if there was no
            picture.
        FileExistsError: at the end, if there is a file and not `force`.
        OSError: at the end, if the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        quality: int | None = None,
        force: bool = True,
    ):
        self.notes = []
        self._path, self._quality, self._force = Path(path), quality, force
        self._format = output_format(path)
        self._open = contextlib.ExitStack()
        self._file = self._tiff = None

    def __enter__(self) -> "PageWriter":
        return self

    def check(self, picture: Picture, several: bool = False) -> None:
        """Refuses what the file cannot hold, before any work is done for it.

        Args:
            picture: the first one; what counts is whether it has alpha.
            several: whether there are more.

        Raises:
            ValueError: if the picture has alpha and the format has none, or
                there are several and it is not TIFF.
        """
        _check_alpha(picture, self._format)
        if several and self._format != "TIFF":
            raise ValueError(
                "has several pages, which only .tif files hold; choose such an "
                "output."
            )

    def add(self, picture: Picture) -> None:
        """Writes a picture; a second one as the next page of a TIFF file.

        Raises:
            ValueError: if the format cannot hold it.
            OSError: if the file cannot be written.
        """
        if self._format == "TIFF":
            metadata = held(picture.metadata, "TIFF", self.notes)
            with self._errors():
                self._tiff = self._tiff or TiffWriter(self._opened())
                self._tiff.add(replace(picture, metadata=metadata))
            return
        if self._file is not None:
            raise ValueError(
                f"{self._path}: {self._format} holds one picture; choose a "
                ".tif for several."
            )
        data = _encoded(picture, self._format, self._quality, self.notes)
        with self._errors():
            self._opened().write(data)

    def __exit__(self, *error) -> None:
        if self._file is None and error == (None, None, None):
            raise ValueError(f"{self._path}: there is no picture to write.")
        with self._errors():
            self._open.__exit__(*error)
        self.notes = list(dict.fromkeys(self.notes))

    def _opened(self):
        beside = written_beside(self._path, replace=self._force)
        partial = self._open.enter_context(beside)
        self._file = self._open.enter_context(_synced(partial))
        return self._file

    @contextlib.contextmanager
    def _errors(self):
        """Names the file in errors of writing it."""
        try:
            yield
        except FileExistsError:
            raise FileExistsError(
                f"{self._path}: exists already; choose another output or use "
                "force=True."
            ) from None
        except OSError as error:
            raise OSError(
                f"{self._path}: cannot be written: {error.strerror}."
            ) from error


@contextlib.contextmanager
def _synced(path):
    # By Python: Pillow's own writing to a file takes no notice when the disk
    # is full within the last block.
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def save_pages(
    pages: Iterable[Picture],
    path: str | os.PathLike,
    quality: int | None = None,
    force: bool = True,
) -> list[str]:
    """Writes pictures into one file; see `PageWriter`.

    Returns:
        Sentences on what the format could not hold.
    """
    with PageWriter(path, quality, force) as writer:
        for page in pages:
            writer.add(page)
    return writer.notes


def _check_alpha(picture, format_):
    if picture.alpha is not None and format_ in _WITHOUT_ALPHA:
        raise ValueError(
            f"{format_} has no alpha channel; write a .png instead."
        )


def _encoded(picture, format_, quality, notes):
    """The bytes of a file."""
    _check_alpha(picture, format_)
    metadata = held(picture.metadata, format_, notes)
    if format_ == "PNG":
        return png.join(_png_pixels(picture, notes), metadata)
    picture = _with_depth(picture, np.uint8, notes, format_)
    options = {
        key: getattr(metadata, key)
        for key in ("exif", "icc_profile", "xmp", "dpi")
        if getattr(metadata, key)
    }
    if format_ == "JPEG":
        options |= _jpeg_options(picture, metadata, quality)
    elif format_ == "JPEG2000":
        if metadata.comments:
            options["comment"] = metadata.comments[0]
    elif format_ == "WEBP" and picture.encoding.lossless and quality is None:
        options |= {"lossless": True, "exact": True}
    elif format_ in ("WEBP", "HEIF", "AVIF"):
        options["quality"] = quality or DEFAULT_QUALITY
    image = _bare(picture)
    file = io.BytesIO()
    try:
        image.save(file, format_, **options)
    except (OSError, ValueError) as error:  # the size, as a rule
        raise ValueError(
            f"{image.width}x{image.height} pixels cannot be written as "
            f"{format_}: {error}; choose .png or .tif."
        ) from error
    return file.getbuffer()


def _bare(picture):
    """A PIL image without metadata, which is written by other means."""
    image = picture.to_pil()
    image.info = {}
    return image


def _with_depth(picture, dtype, notes, format_):
    """The picture in 8 or 16 bits."""
    if picture.pixels.dtype == dtype:
        return picture
    notes.append(
        f"{format_} holds {np.iinfo(dtype).bits} bits per channel; the picture "
        f"had {picture.pixels.dtype}"
    )
    alpha = picture.alpha
    return replace(
        picture,
        pixels=in_depth(picture.pixels, dtype),
        alpha=None if alpha is None else in_depth(alpha, dtype),
    )


def _jpeg_options(picture, metadata, quality):
    source = picture.encoding
    if quality is None:
        quality = max(source.quality or DEFAULT_QUALITY, LEAST_QUALITY)
    return {
        "quality": quality,
        "subsampling": source.subsampling or 0,
        "progressive": source.progressive,
        "extra": jpeg.segments_of(metadata),
    }


def _png_pixels(picture, notes):
    """The bytes of a PNG file without metadata."""
    if picture.pixels.dtype == np.uint8:
        return png.encoded(_bare(picture))
    import imagecodecs  # Pillow writes no colors of 16 bits

    picture = _with_depth(picture, np.uint16, notes, "PNG")
    return imagecodecs.png_encode(np.ascontiguousarray(picture.array()))
