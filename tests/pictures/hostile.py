"""Pictures that are damaged or odd, with the expected outcome of each.

`corpus` gives name, bytes, and the size of the result, or None where the file
has to be refused.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

SIZE = (40, 30)
REFUSED = None


def corpus(photo: np.ndarray) -> Iterator[tuple[str, bytes, tuple | None]]:
    """Generates files for one folder.

    Args:
        photo: uint8 `(height, width, 3)`, at least 40x30 pixels.

    Yields:
        `(name, content, size)`; `size` is `(width, height)` of the result.
    """
    pillow_heif.register_heif_opener()
    image = Image.fromarray(photo[: SIZE[1], : SIZE[0]])
    whole = {
        "png": _saved(image, "PNG"),
        "jpg": _saved(image, "JPEG"),
        "webp": _saved(image, "WEBP"),
        "tif": _saved(image, "TIFF", compression="tiff_lzw"),
        "bmp": _saved(image, "BMP"),
        "gif": _saved(image, "GIF"),
        "heic": _saved(image, "HEIF"),
        "avif": _saved(image, "AVIF"),
        "jp2": _saved(image, "JPEG2000"),
    }
    deep = np.array(image).astype(np.uint16) * 257
    for suffix, data in whole.items():
        yield f"truncated.{suffix}", data[: len(data) * 3 // 5], REFUSED
        yield f"head_{suffix}.{suffix}", data[:12], REFUSED
        yield f"good_{suffix}.{suffix}", data, SIZE
    yield from _wrong_content(whole, photo)
    yield from _wrong_suffixes(whole)
    yield from _odd_sizes()
    yield from _bombs(whole)
    yield from _several_frames(image, deep)
    yield from _metadata(image)
    yield from _kinds_of_pixels(image, deep)


def _saved(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def _tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def _png(width, height, *chunks, depth=8, color=2):
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, os.SEEK_END)
    header = struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, 0)
    for name, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        PngImagePlugin.putchunk(file, name, data)
    return file.getvalue()


def _wrong_content(whole, photo):
    png, jpeg = whole["png"], whole["jpg"]
    yield "empty.png", b"", REFUSED
    yield "one_byte.jpg", b"\xff", REFUSED
    yield "zeros.png", bytes(5000), REFUSED
    yield "noise.jpg", photo[:64, :64].tobytes(), REFUSED
    yield "text.png", b"not a picture\n" * 100, REFUSED
    middle = len(png) // 2
    noise = png[:middle] + bytes(300) + png[middle + 300 :]
    yield "damaged_pixels.png", noise, REFUSED
    yield "damaged_header.png", png[:20] + b"\xff" + png[21:], REFUSED
    yield "no_pixels.png", _png(8, 8), REFUSED
    yield (
        "bad_stream.png",
        _png(8, 8, (b"IDAT", zlib.compress(b"short"))),
        REFUSED,
    )
    yield "no_tables.jpg", jpeg[:2] + jpeg[-400:], REFUSED
    yield "tail.jpg", jpeg + b"behind the picture" * 100, SIZE
    yield "web_page.jpg", b"<!DOCTYPE html><title>404</title>", REFUSED
    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", REFUSED
    yield "document.tif", b"%PDF-1.7\n1 0 obj\n", REFUSED
    yield "script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", REFUSED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", png)
    yield "archive.png", file.getvalue(), REFUSED
    yield "film.heic", b"\0\0\0\x18ftypisom\0\0\0\0isommp42", REFUSED
    yield "._mac.jpg", b"\0\5\x16\7", "hidden"


def _wrong_suffixes(whole):
    yield "png_in_truth.jpg", whole["png"], SIZE
    yield "jpg_in_truth.png", whole["jpg"], SIZE
    yield "tif_in_truth.png", whole["tif"], SIZE
    yield "heic_in_truth.jpg", whole["heic"], SIZE
    yield "UPPER.JPG", whole["jpg"], SIZE


def _odd_sizes():
    for width, height in ((1, 1), (1, 200), (200, 1), (2, 3)):
        image = Image.new("RGB", (width, height), "orange")
        for suffix, format_ in (
            ("png", "PNG"),
            ("jpg", "JPEG"),
            ("tif", "TIFF"),
        ):
            name = f"odd_{width}x{height}_{suffix}.{suffix}"
            yield name, _saved(image, format_), (width, height)
    for size in ((30_000, 30), (30, 30_000)):
        name = f"strip_{size[0]}.png"
        yield name, _saved(Image.new("L", size, 99), "PNG"), size
    yield "no_width.png", _png(0, 5), REFUSED
    yield "no_height.bmp", _bmp(5, 0), REFUSED


def _bmp(width, height):
    header = struct.pack("<LllHHLLllLL", 40, width, height, 1, 24, *[0] * 6)
    return b"BM" + struct.pack("<LLL", 54, 0, 54) + header


def _bombs(whole):
    rows = zlib.compress(bytes(1_000_000), 9)
    yield "bomb.png", _png(50_000, 50_000, (b"IDAT", rows)), REFUSED
    yield "largest.png", _png(2**31 - 1, 2**31 - 1, (b"IDAT", rows)), REFUSED
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    yield "text_bomb.png", _png(8, 8, (b"zTXt", text)), REFUSED
    frame = bytearray(whole["jpg"])
    start = frame.index(b"\xff\xc0") + 5
    frame[start : start + 4] = struct.pack(">HH", 65_500, 65_500)
    yield "bomb.jpg", bytes(frame), REFUSED
    yield "bomb.bmp", _bmp(40_000, 40_000), REFUSED
    yield "bomb.gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535), REFUSED
    sizes = bytearray(_tiff(np.zeros((8, 8, 3), np.uint8), photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(sizes)) as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            place = tiff.pages[0].tags[tag].valueoffset
            sizes[place : place + 4] = struct.pack("<L", 60_000)[:4]
    yield "bomb.tif", bytes(sizes), REFUSED


def _several_frames(image, deep):
    others = [image.rotate(90), image.rotate(180)]
    options = {"save_all": True, "append_images": others, "duration": 50}
    for suffix, format_ in (("gif", "GIF"), ("webp", "WEBP"), ("png", "PNG")):
        yield f"film.{suffix}", _saved(image, format_, **options), REFUSED
    options.pop("duration")
    pages = _saved(image, "TIFF", **options)
    yield "pages.tif", pages, SIZE
    yield "pages_damaged.tif", pages[: len(pages) * 2 // 3], REFUSED
    yield "phone.jpg", _saved(image, "MPO", **options), SIZE
    yield "burst.heic", _saved(image, "HEIF", **options), SIZE
    # The directory is its own successor.
    loop = bytearray(_tiff(deep, photometric="rgb"))
    (start,) = struct.unpack_from("<L", loop, 4)
    (count,) = struct.unpack_from("<H", loop, start)
    struct.pack_into("<L", loop, start + 2 + 12 * count, start)
    yield "loop.tif", bytes(loop), SIZE
    nowhere = bytearray(loop)
    struct.pack_into("<L", nowhere, 4, 2**31)
    yield "nowhere.tif", bytes(nowhere), REFUSED


def _metadata(image):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = 6
    good = exif.tobytes()
    for name, data in (
        ("noise", b"Exif\0\0" + bytes(range(256))),
        ("short", good[:20]),
        ("offsets", good[:10] + b"\xff" * 4 + good[14:]),
        ("empty", b"Exif\0\0"),
    ):
        yield f"exif_{name}.jpg", _saved(image, "JPEG", exif=data), SIZE
        yield f"exif_{name}_p.png", _saved(image, "PNG", exif=data), SIZE
    yield "turned.jpg", _saved(image, "JPEG", exif=good), SIZE[::-1]
    for value in (0, 9, 300):
        exif[0x0112] = value
        yield f"turned_{value}.jpg", _saved(image, "JPEG", exif=exif), SIZE
    text = good.replace(b"\x01\x12\0\3", b"\x01\x12\0\2")  # of type ASCII
    yield "turned_text.jpg", _saved(image, "JPEG", exif=text), SIZE
    for suffix, format_ in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF")):
        data = _saved(image, format_, icc_profile=b"no profile at all")
        yield f"icc_{suffix}.{suffix}", data, SIZE
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk = image.convert("CMYK")
    yield "icc_cmyk.jpg", _saved(cmyk, "JPEG", icc_profile=srgb[:200]), SIZE
    yield "icc_other.jpg", _saved(cmyk, "JPEG", icc_profile=srgb), SIZE
    yield "xmp.jpg", _saved(image, "JPEG", xmp=b"\xff\xfe<x:broken \0"), SIZE
    yield "long_text.jpg", _saved(image, "JPEG", comment=b"c" * 65_000), SIZE


def _kinds_of_pixels(image, deep):
    for mode in ("1", "L", "P", "CMYK", "YCbCr"):
        yield f"mode_{mode}.tif", _saved(image.convert(mode), "TIFF"), SIZE
    yield "mode_LAB.tif", _saved(Image.new("LAB", SIZE), "TIFF"), SIZE
    palette = image.convert("P")
    yield (
        "palette.png",
        _saved(palette, "PNG", transparency=bytes(range(256))),
        SIZE,
    )
    fax = image.convert("1")
    yield "fax.tif", _saved(fax, "TIFF", compression="group4"), SIZE
    yield "progressive.jpg", _saved(image, "JPEG", progressive=True), SIZE
    png = imagecodecs.png_encode(deep)
    yield "deep.png", png, SIZE
    yield "deep_truncated.png", png[: len(png) // 2], REFUSED
    tif = _tiff(deep, photometric="rgb", compression="zlib")
    yield "deep_truncated.tif", tif[: len(tif) // 2], REFUSED
    floats = (deep / 65535).astype("float32")
    yield "float.tif", _tiff(floats, photometric="rgb"), SIZE
    yield "bright.tif", _tiff(floats * 9, photometric="rgb"), REFUSED
    yield "nan.tif", _tiff(floats * np.nan, photometric="rgb"), REFUSED
    integers = deep.astype("int32")
    yield "integers.tif", _tiff(integers, photometric="rgb"), REFUSED
    yield "complex.tif", _tiff(deep[..., 0] * 1j), REFUSED
    spectrum = np.repeat(deep[..., :1], 6, axis=-1)
    yield (
        "spectrum.tif",
        _tiff(spectrum, photometric="minisblack", planarconfig="contig"),
        REFUSED,
    )
    volume = _tiff(deep[..., 0][None].repeat(3, 0), photometric="minisblack")
    yield "volume.tif", volume, SIZE
    ink = np.dstack([deep, deep[..., :1]])
    yield "ink.tif", _tiff(ink, photometric="separated"), SIZE
