"""XMP as bytes: what a picture's pixels no longer fit is changed in place."""

import re

_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))([0-9])')
_X_AND_Y = (
    (b"tiff:ImageWidth", b"tiff:ImageLength"),
    (b"exif:PixelXDimension", b"exif:PixelYDimension"),
    (b"tiff:XResolution", b"tiff:YResolution"),
)
_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails>.*?</\1:Thumbnails>", re.S)
_MOTION = re.compile(rb'(GCamera:(?:MotionPhoto|MicroVideo)(?:="|>))1')
_EXTENSION = re.compile(rb'xmpNote:HasExtendedXMP(?:="|>)([0-9A-Fa-f]{32})')
_EXTENSION_ALL = re.compile(
    rb'\s*xmpNote:HasExtendedXMP="[^"]*"'
    rb"|<xmpNote:HasExtendedXMP>[^<]*</xmpNote:HasExtendedXMP>"
)


def upright_xmp(xmp: bytes, turned: bool = False) -> bytes:
    """XMP of an upright picture, without thumbnails.

    Args:
        xmp: XML, encoded.
        turned: whether width and height of the picture were exchanged; those
            of XMP and the resolutions then are, too.
    """
    xmp = _ORIENTATION.sub(rb"\g<1>1", _THUMBNAILS.sub(b"", xmp))
    for names in _X_AND_Y if turned else ():
        found = [re.search(rb'%s(?:="|>)([^"<]*)' % n, xmp) for n in names]
        if all(found):
            (a, b), (c, d) = sorted(match.span(1) for match in found)
            xmp = xmp[:a] + xmp[c:d] + xmp[b:c] + xmp[a:b] + xmp[d:]
    return xmp


def xmp_orientation(xmp: bytes) -> int:
    """The orientation that XMP gives; 1 if it gives none."""
    match = _ORIENTATION.search(xmp)
    return int(match[2]) if match else 1


def without_motion(xmp: bytes) -> bytes:
    """XMP that promises no video behind the picture."""
    return _MOTION.sub(rb"\g<1>0", xmp)


def extension_name(xmp: bytes) -> bytes | None:
    """Name of the part of XMP that is elsewhere in a JPEG file, or `None`."""
    match = _EXTENSION.search(xmp)
    return match[1] if match else None


def without_extension(xmp: bytes) -> bytes:
    """XMP that promises no extension."""
    return _EXTENSION_ALL.sub(b"", xmp)
