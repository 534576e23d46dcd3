"""The chunks of PNG files: what Pillow and libpng neither read nor write whole.

Texts stay as they are, compressed or not, however long they are: Pillow reads
those of 1 MB at most.
"""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from PIL import Image

from keras_radn.pictures import photoshop
from keras_radn.pictures.exif import EXIF_PREFIX
from keras_radn.pictures.picture import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLORS = (b"cHRM", b"cICP", b"cLLI", b"gAMA", b"mDCV", b"sRGB")

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Taken from the file before Pillow and libpng see it.
_TAKEN = (*_TEXTS, *COLORS, b"eXIf", b"iCCP", b"pHYs", b"tIME")
# How the pixels are stored, which Pillow and libpng know.
_OF_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iDOT")
_OF_FRAMES = (b"acTL", b"fcTL", b"fdAT")

_XMP = b"XML:com.adobe.xmp"
_RAW = b"Raw profile type "
_APP1_XMP = b"http://ns.adobe.com/xap/1.0/\0"
# Bytes of a text that is looked into.
_MOST_BYTES = 2**26


class Chunk(NamedTuple):
    """A chunk of a PNG file: its name of 4 bytes and its content."""

    name: bytes
    data: bytes


def split(data: bytes) -> tuple[bytes, list[Chunk], list[str]]:
    """Divides a PNG file.

    Args:
        data: the file.

    Returns:
        A file with what tells of the pixels, the other chunks that are known,
        and notes on what is left out.
    """
    bare, taken, unknown = [SIGNATURE], [], {}
    start, notes = len(SIGNATURE), []
    while start + 12 <= len(data):
        size, name = struct.unpack_from(">L4s", data, start)
        end = start + 12 + size
        if end > len(data):
            break
        chunk = Chunk(name, data[start + 8 : end - 4])
        if name not in _TAKEN:
            bare.append(data[start:end])
            if name not in (*_OF_PIXELS, *_OF_FRAMES):
                unknown[name.decode("latin-1")] = None
        elif zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(
            data[end - 4 : end], "big"
        ):
            notes.append(f"its damaged chunk {name.decode()} is left out")
        else:
            taken.append(chunk)
        start = end
        if name == b"IEND":
            break
    rest = data[start:]
    if bare[-1][4:8] != b"IEND":
        bare.append(rest)  # cut off: its readers will report that
    elif rest.strip(b"\0"):
        notes.append(f"{len(rest)} bytes behind the picture are left out")
    if unknown:
        notes.append(f"its chunks {', '.join(unknown)} are left out")
    return b"".join(bare), taken, notes


def metadata_of(chunks: Iterable[Chunk]) -> tuple[Metadata, list[str]]:
    """What chunks of `split` say about the picture; the first of a kind counts.

    Returns:
        Metadata, and notes on what is left out.
    """
    found, kept, texts, notes = {}, {}, [], []
    for chunk in chunks:
        if dpi := _dpi(chunk):
            found.setdefault("dpi", dpi)
            continue
        if chunk.name in (*COLORS, b"pHYs", b"tIME"):
            kept.setdefault(chunk.name, chunk.data)
            continue
        kind = _kind(chunk)
        if kind is None:
            texts.append(chunk)
            continue
        try:
            found.setdefault(*_content(chunk, kind))
        except (ValueError, zlib.error):
            notes.append(f"its damaged {_label(kind)} is left out")
    resources = photoshop.without_thumbnails(found.get("photoshop", b""))
    metadata = Metadata(
        exif=found.get("exif"),
        icc_profile=found.get("icc_profile"),
        xmp=found.get("xmp"),
        dpi=found.get("dpi"),
        photoshop=resources or None,
        iptc=photoshop.iptc_of(resources),
        png_chunks=kept,
        png_texts=tuple(texts),
    )
    return metadata, notes


def _dpi(chunk):
    if chunk.name != b"pHYs" or len(chunk.data) != 9:
        return None
    *per_unit, unit = struct.unpack(">LLB", chunk.data)
    # Otherwise it is the shape of a pixel alone.
    return tuple(n * 0.0254 for n in per_unit) if unit == 1 else None


def keyword(chunk: Chunk) -> str:
    """The keyword of a chunk with text."""
    return chunk.data.partition(b"\0")[0].decode("latin-1")


def text_of(chunk: Chunk) -> bytes:
    """The text of a chunk, in UTF-8.

    Raises:
        ValueError: if it is damaged or of more than 64 MB.
        zlib.error: if it is damaged.
    """
    text, encoding = _raw_text(chunk)
    return text.decode(encoding, "replace").encode()


def _raw_text(chunk):
    _, _, rest = chunk.data.partition(b"\0")
    if chunk.name == b"tEXt":
        return rest, "latin-1"
    if chunk.name == b"zTXt":
        return _inflated(rest[1:]), "latin-1"
    compressed, rest = rest[:1], rest[2:]
    *_, text = rest.split(b"\0", 2)
    return (_inflated(text) if compressed == b"\1" else text), "utf-8"


def _inflated(data):
    decoder = zlib.decompressobj()
    text = decoder.decompress(data, _MOST_BYTES)
    if decoder.unconsumed_tail:
        raise ValueError("it is too long")
    if not decoder.eof:
        raise ValueError("it is cut off")
    return text


def _kind(chunk):
    """What a chunk holds beside texts: `"exif"`, ..., or None."""
    if chunk.name in (b"eXIf", b"iCCP"):
        return chunk.name.decode()
    name = chunk.data.partition(b"\0")[0]
    if name == _XMP:
        return "xmp"
    if name.startswith(_RAW):
        kind = name.removeprefix(_RAW).decode("latin-1").lower()
        kinds = ("exif", "app1", "xmp", "iptc", "8bim", "icc", "icm")
        return f"raw {kind}" if kind in kinds else None
    return None


def _label(kind):
    return kind.replace("raw ", "Raw profile type ")


def _content(chunk, kind):
    """A field of Metadata and its value."""
    if kind == "eXIf":
        return "exif", EXIF_PREFIX + chunk.data
    if kind == "iCCP":
        _, _, rest = chunk.data.partition(b"\0")
        return "icc_profile", _inflated(rest[1:])
    text, _ = _raw_text(chunk)
    if kind == "xmp":
        return "xmp", text
    # As ImageMagick writes them: name, length, and hexadecimal digits.
    data = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    if data.startswith(_APP1_XMP):
        return "xmp", data.removeprefix(_APP1_XMP)
    if kind in ("raw exif", "raw app1"):
        return "exif", EXIF_PREFIX + data.removeprefix(EXIF_PREFIX)
    if kind == "raw xmp":
        return "xmp", data
    if kind in ("raw iptc", "raw 8bim"):
        return "photoshop", data
    return "icc_profile", data


def join(data: bytes, metadata: Metadata) -> bytes:
    """A PNG file with chunks for metadata behind its header.

    Args:
        data: a file without them.
        metadata: what is to be held.
    """
    chunks = [
        Chunk(name, content)
        for name, content in metadata.png_chunks.items()
        if name != b"sRGB" or not metadata.icc_profile  # one of them
    ]
    if metadata.icc_profile:
        profile = zlib.compress(metadata.icc_profile)
        chunks.append(Chunk(b"iCCP", b"ICC Profile\0\0" + profile))
    if metadata.dpi:
        per_metre = [round(dpi / 0.0254) for dpi in metadata.dpi]
        chunks.append(Chunk(b"pHYs", struct.pack(">LLB", *per_metre, 1)))
    if metadata.exif:
        chunks.append(Chunk(b"eXIf", metadata.exif.removeprefix(EXIF_PREFIX)))
    if metadata.xmp:
        chunks.append(Chunk(b"iTXt", _XMP + bytes(5) + metadata.xmp))
    resources = photoshop.with_iptc(metadata.photoshop or b"", metadata.iptc)
    if resources:
        chunks.append(_raw_profile(b"iptc", resources))
    chunks += [
        Chunk(b"iTXt", b"Comment" + bytes(5) + _as_utf_8(comment))
        for comment in metadata.comments
    ]
    header = len(SIGNATURE) + 25
    return b"".join(
        [
            data[:header],
            *map(_encoded, [*chunks, *metadata.png_texts]),
            data[header:],
        ]
    )


def _raw_profile(kind, data):
    digits = data.hex()
    lines = [digits[i : i + 72] for i in range(0, len(digits), 72)]
    text = "\n".join(["", kind.decode(), f"{len(data):8}", *lines, ""])
    content = _RAW + kind + b"\0\0" + zlib.compress(text.encode())
    return Chunk(b"zTXt", content)


def _as_utf_8(text):
    text = text.rstrip(b"\0")
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _encoded(chunk):
    checksum = zlib.crc32(chunk.name + chunk.data)
    return b"".join(
        [
            struct.pack(">L", len(chunk.data)),
            *chunk,
            struct.pack(">L", checksum),
        ]
    )


def encoded(image: Image.Image) -> bytes:
    """A PNG file of 8 bits, without metadata."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
