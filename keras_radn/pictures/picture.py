"""A picture: the pixels that a network changes and all that stays with them."""

import io
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageCms

from keras_radn.pictures.exif import (
    TURNED,
    upright_exif,
    without_thumbnail,
)
from keras_radn.pictures.xmp import upright_xmp


class PictureError(ValueError):
    """The reason why a picture cannot be read: a sentence without its name."""


_DEEP_GRAY = {"uint16": "I;16", "float32": "F"}


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture.

    Attributes:
        exif: as in a JPEG file, with the prefix `Exif\\0\\0`; the orientation
            is applied already, and there is no thumbnail.
        icc_profile: bytes of the color profile.
        xmp: XML, encoded.
        xmp_extension: the part of XMP that does not fit into the first segment
            of a JPEG file.
        dpi: resolution, `(x, y)`.
        comments: of a JPEG file and others.
        iptc: records with captions and keywords.
        photoshop: Photoshop's resources, mostly with the same records.
        png_chunks: contents of chunks of a PNG file, by name: those on its
            colors, its time, and the shape of a pixel.
        png_texts: names and contents of its chunks with other texts.
    """

    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    xmp_extension: bytes | None = None
    dpi: tuple[float, float] | None = None
    comments: tuple[bytes, ...] = ()
    iptc: bytes | None = None
    photoshop: bytes | None = None
    png_chunks: dict[bytes, bytes] = field(default_factory=dict)
    png_texts: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Encoding:
    """How a picture was compressed, so that it is not done worse again.

    Attributes:
        format: Pillow's name of the format of the file.
        quality: of a JPEG file, 1 to 100, such that libjpeg's tables are at
            least as fine as the file's.
        subsampling: of a JPEG file's chroma: 0 for 4:4:4, 1 for 4:2:2, 2 for
            4:2:0.
        progressive: of a JPEG file.
        lossless: of a WebP file.
        compression: of a TIFF file, tifffile's name.
    """

    format: str | None = None
    quality: int | None = None
    subsampling: int | None = None
    progressive: bool = False
    lossless: bool = False
    compression: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture in memory.

    Attributes:
        pixels: `(height, width)` in gray or `(height, width, 3)` in RGB;
            uint8, uint16, or floating point.
        alpha: `(height, width)` of the same dtype, or None.
        metadata: what the file says about it.
        encoding: how it was compressed.
        notes: sentences on what was changed in reading it.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    encoding: Encoding = field(default_factory=Encoding)
    notes: tuple[str, ...] = ()

    def with_pixels(self, pixels: np.ndarray) -> "Picture":
        return replace(self, pixels=pixels)

    def array(self) -> np.ndarray:
        """Pixels and alpha, `(height, width[, channels])`."""
        if self.alpha is None:
            return self.pixels
        return np.dstack([self.pixels, self.alpha])

    @property
    def fits_pil(self) -> bool:
        """Whether Pillow has images of this kind."""
        if self.pixels.dtype == np.uint8:
            return True
        plain_gray = self.pixels.ndim == 2 and self.alpha is None
        return plain_gray and self.pixels.dtype.name in _DEEP_GRAY

    def to_pil(self) -> Image.Image:
        """A PIL image of mode L, LA, RGB or RGBA, or I;16 or F for deep gray.

        Its `info` has the metadata that `save` understands.
        """
        if not self.fits_pil:
            raise ValueError(
                "Pillow has no images of this kind. Received: "
                f"{self.pixels.dtype} of shape {self.array().shape}"
            )
        image = Image.fromarray(np.ascontiguousarray(self.pixels))
        if self.alpha is not None:
            image.putalpha(Image.fromarray(np.ascontiguousarray(self.alpha)))
        for key in ("exif", "icc_profile", "xmp", "dpi"):
            value = getattr(self.metadata, key)
            if value is not None:
                image.info[key] = value
        return image


def picture_of(array: np.ndarray) -> Picture:
    """A picture of an array `(height, width[, channels])`.

    Raises:
        PictureError: if it has more than 4 channels.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim > 3 or channels > 4:
        raise PictureError(
            f"has samples of the shape {array.shape}; 1 to 4 channels are "
            "supported."
        )
    alpha = None
    if channels in (2, 4):
        array, alpha = array[..., :-1], array[..., -1]
    if array.shape[2:] == (1,):
        array = array[..., 0]
    return Picture(array, alpha)


def from_pil(image: Image.Image) -> Picture:
    """The picture of a PIL image, with metadata from its `info`.

    Palettes and other color models become RGB, CMYK by its ICC profile if it
    has one; the profile of the picture is then sRGB.

    Raises:
        ValueError: for the mode I, whose range is not known, and others that
            Pillow cannot convert.
    """
    info, notes, alpha = image.info, [], None
    exif = info.get("exif")
    metadata = Metadata(
        exif=exif and without_thumbnail(exif),
        icc_profile=info.get("icc_profile"),
        xmp=_encoded(info.get("xmp")),
        dpi=info.get("dpi"),
    )
    if image.mode == "I":
        raise PictureError(
            "Images of mode I (32-bit integers) have no known range; pass a "
            "uint16 or floating-point array."
        )
    if image.mode == "F" or image.mode.startswith("I;16"):
        return Picture(_native(np.asarray(image)), metadata=metadata)
    if image.mode in ("CMYK", "LAB"):
        image, note = _convert_by_profile(image)
        notes.append(note)
        profile = image.info.get("icc_profile")
        metadata = replace(metadata, icc_profile=profile)
    if image.has_transparency_data:
        gray = image.mode in ("L", "LA", "La")
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    else:
        gray = image.mode in ("1", "L")
    pixels = np.asarray(image.convert("L" if gray else "RGB"))
    if gray and alpha is not None:
        pixels = np.asarray(image.getchannel("R"))  # convert() would round
    return Picture(pixels, alpha, metadata, notes=tuple(notes))


def _encoded(text):
    return text.encode() if isinstance(text, str) else text


def _native(array):
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _convert_by_profile(image):
    mode = image.mode
    srgb = ImageCms.createProfile("sRGB")
    if mode == "LAB":
        source = ImageCms.createProfile("LAB")
    else:
        source = _cmyk_profile(image)
    if source is None:
        converted = image.convert("RGB")
        converted.info.pop("icc_profile", None)
        return converted, (
            "CMYK was converted to RGB without a color profile; colors are "
            "approximate"
        )
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    converted.info["icc_profile"] = ImageCms.ImageCmsProfile(srgb).tobytes()
    return converted, f"{mode} was converted to sRGB"


def _cmyk_profile(image):
    """The image's own profile, if it is a valid one of CMYK."""
    try:
        data = io.BytesIO(image.info["icc_profile"])
        profile = ImageCms.ImageCmsProfile(data)
    except (KeyError, OSError, ImageCms.PyCMSError):
        return None
    is_cmyk = profile.profile.xcolor_space.strip() == "CMYK"
    return profile if is_cmyk else None


def oriented(picture: Picture, orientation: int) -> Picture:
    """A picture turned and mirrored as its EXIF orientation says.

    Args:
        picture: as it is stored; its metadata stay.
        orientation: 1 to 8; others, which damaged files have, change nothing.
    """
    turn = {
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: np.rot90,
    }.get(orientation)
    if turn is None:
        return picture
    alpha = picture.alpha
    return replace(
        picture,
        pixels=turn(picture.pixels),
        alpha=None if alpha is None else turn(alpha),
    )


def upright(
    metadata: Metadata, orientation: int, size: tuple[int, int]
) -> Metadata:
    """Metadata of a picture to which its orientation was applied.

    What shows the picture as it was, a thumbnail, is left out; what tells of
    its width and height is turned with it.

    Args:
        metadata: those of the file.
        orientation: see `oriented`.
        size: width and height as they are stored.

    Raises:
        struct.error: if EXIF is damaged.
    """
    turned = orientation in TURNED
    exif, xmp, dpi = metadata.exif, metadata.xmp, metadata.dpi
    return replace(
        metadata,
        exif=exif and upright_exif(exif, orientation, size),
        xmp=xmp and upright_xmp(xmp, turned),
        dpi=dpi[::-1] if dpi and turned else dpi,
    )
