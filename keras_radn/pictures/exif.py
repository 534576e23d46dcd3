"""EXIF and the directories of TIFF, as bytes.

Pillow writes all tags anew: texts become ASCII, types are guessed, and makers'
notes, which point to places by their distance from the start, move. Here bytes
stay as they are.
"""

import io
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

EXIF_PREFIX = b"Exif\0\0"
ORIENTATION, MAKERS_NOTE = 0x0112, 0x927C
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005

# Directories within directories, by the tag of the outer one.
_BELOW = {None: (EXIF, GPS), EXIF: (INTEROPERABILITY,)}

# Pairs that a quarter turn exchanges: sizes and resolutions.
_X_AND_Y = (
    *((0x0100, 0x0101), (X_RESOLUTION, Y_RESOLUTION)),
    *((0xA002, 0xA003), (0xA20E, 0xA20F)),
)

# Area and location of the subject.
_SUBJECT = (0x9214, 0xA214)

# Orientations that exchange width and height.
TURNED = (5, 6, 7, 8)

# Bytes of a value by the number of its type; a fraction is two numbers.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4}
_SIZES |= {12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_FRACTIONS = (5, 10)
_SHORT, _LONG, _LONG8 = 3, 4, (16, 17, 18)


class Value(NamedTuple):
    """The value of a tag.

    Attributes:
        kind: TIFF's number of the type.
        data: bytes, in the byte order of the directory.
        place: where they are in the file, if they have to stay there.
    """

    kind: int
    data: bytes
    place: int | None = None


Directory = dict[int, "Value | Directory"]


def byte_order(data: bytes) -> str:
    """`"<"` or `">"`, from the start of a TIFF file or of EXIF.

    Raises:
        struct.error: if it is not such a start.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise struct.error("no byte order")
    return order


def upright_exif(
    exif: bytes, orientation: int = 1, size: tuple[int, int] = (0, 0)
) -> bytes:
    """EXIF of an upright picture, without a thumbnail.

    Nothing moves: the orientation becomes 1 where there is one, the link to the
    thumbnail, which would show the picture as it was, none. Widths, heights,
    resolutions and the place of the subject are turned with the picture.

    Args:
        exif: with or without the prefix `Exif\\0\\0`; the result has it.
        orientation: that was applied to the picture.
        size: width and height of the picture before that.

    Raises:
        struct.error: if they are damaged.
    """
    data = _without_thumbnail(exif)
    order = byte_order(data)
    ifd = dict(_entries(data, order, *struct.unpack_from(f"{order}L", data, 4)))
    if ORIENTATION in ifd:
        struct.pack_into(f"{order}HLHH", data, ifd[ORIENTATION], 3, 1, 1, 0)
    if orientation in range(2, 9):
        _turn(data, order, ifd, orientation, size)
    return EXIF_PREFIX + bytes(data)


def _turn(data, order, ifd, orientation, size):
    directories = [ifd]
    if EXIF in ifd:
        (place,) = struct.unpack_from(f"{order}L", data, ifd[EXIF] + 6)
        directories.append(dict(_entries(data, order, place)))
    for entries in directories:
        for x, y in _X_AND_Y if orientation in TURNED else ():
            if x in entries and y in entries:
                _exchange(data, entries[x], entries[y])
        for tag in _SUBJECT:
            if tag in entries:
                _turn_subject(data, order, entries[tag], orientation, size)


def _turn_subject(data, order, entry, orientation, size):
    """x and y of a point, with the diameter or the sides around it."""
    kind, count = struct.unpack_from(f"{order}HL", data, entry)
    if kind != _SHORT or count not in (2, 3, 4):
        return
    place = entry + 6
    if count > 2:
        (place,) = struct.unpack_from(f"{order}L", data, place)
    x, y, *sides = struct.unpack_from(f"{order}{count}H", data, place)
    mirrored_x, mirrored_y = size[0] - 1 - x, size[1] - 1 - y
    point = {
        2: (mirrored_x, y),
        3: (mirrored_x, mirrored_y),
        4: (x, mirrored_y),
        5: (y, x),
        6: (mirrored_y, x),
        7: (mirrored_y, mirrored_x),
        8: (y, mirrored_x),
    }[orientation]
    if min(point) >= 0:  # else it was outside of the picture
        sides = sides[::-1] if orientation in TURNED else sides
        struct.pack_into(f"{order}{count}H", data, place, *point, *sides)


def without_thumbnail(exif: bytes) -> bytes:
    """EXIF without the link to its thumbnail; as it is if it is damaged."""
    try:
        return EXIF_PREFIX + bytes(_without_thumbnail(exif))
    except struct.error:
        return exif


def without_orientation(exif: bytes) -> bytes:
    """EXIF without that tag; all values stay where they are.

    Raises:
        struct.error: if they are damaged.
    """
    data = bytearray(exif.removeprefix(EXIF_PREFIX))
    order = byte_order(data)
    (ifd,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, ifd)
    entries = dict(_entries(data, order, ifd))
    if ORIENTATION in entries:
        entry, end = entries[ORIENTATION] - 2, ifd + 2 + 12 * count + 4
        data[entry:end] = data[entry + 12 : end] + bytes(12)
        struct.pack_into(f"{order}H", data, ifd, count - 1)
    return EXIF_PREFIX + bytes(data)


def _without_thumbnail(exif):
    data = bytearray(exif.removeprefix(EXIF_PREFIX))
    order = byte_order(data)
    (ifd,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, ifd)
    link = ifd + 2 + 12 * count
    if link + 4 <= len(data):  # some end with the last tag
        struct.pack_into(f"{order}L", data, link, 0)
    return data


def _entries(data, order, ifd) -> Iterator[tuple[int, int]]:
    """Tags, and the places of their type, count and value, of 10 bytes."""
    (count,) = struct.unpack_from(f"{order}H", data, ifd)
    for entry in range(ifd + 2, ifd + 2 + 12 * count, 12):
        tag, *_ = struct.unpack_from(f"{order}HHLL", data, entry)
        yield tag, entry + 2


def _exchange(data, first, second):
    data[first : first + 10], data[second : second + 10] = (
        data[second : second + 10],
        data[first : first + 10],
    )


def read_directory(
    file: BinaryIO, order: str, place: int, big: bool = False
) -> Directory:
    """The tags of a directory, with those of EXIF and GPS below it.

    Args:
        file: a TIFF file, or EXIF without its prefix.
        order: `"<"` or `">"`.
        place: of the directory in the file.
        big: whether the file is a BigTIFF.

    Raises:
        struct.error: if it is damaged.
    """
    return _directory(file, order, place, big, None)


def _directory(file, order, place, big, name):
    number, inline = ("Q", 8) if big else ("L", 4)
    file_size = file.seek(0, 2)

    def unpack(format_, where):
        file.seek(where)
        format_ = order + format_
        return struct.unpack(format_, file.read(struct.calcsize(format_)))

    (count,) = unpack("Q" if big else "H", place)
    start, length = place + (8 if big else 2), 4 + 2 * inline
    tags: Directory = {}
    for entry in range(start, start + length * count, length):
        tag, kind, items = unpack(f"HH{number}", entry)
        size, where = _SIZES.get(kind, 0) * items, entry + 4 + inline
        is_directory = any(tag in tags_ for tags_ in _BELOW.values())
        if size > inline or is_directory:
            (where,) = unpack(number, where)
        if is_directory:
            if tag in _BELOW.get(name, ()):
                tags[tag] = _directory(file, order, where, big, tag)
        elif size:
            if where + size > file_size:
                raise struct.error("a value is cut off")
            file.seek(where)
            kept = where if tag == MAKERS_NOTE else None
            tags.setdefault(tag, Value(kind, file.read(size), kept))
    return tags


def in_order(tags: Directory, before: str, after: str) -> Directory:
    """Tags in another byte order; what has no type, as makers' notes, stays."""
    if before == after:
        return tags
    return {
        tag: in_order(value, before, after)
        if isinstance(value, dict)
        else value._replace(data=_swapped(value), place=None)
        for tag, value in tags.items()
    }


def _swapped(value):
    size = _SIZES[value.kind] // (2 if value.kind in _FRACTIONS else 1)
    return np.frombuffer(value.data, f"u{size}").byteswap().tobytes()


def directory_bytes(tags: Mapping, order: str, place: int) -> bytes:
    """A directory of a TIFF file, with the values of its tags behind it.

    Args:
        tags: of `read_directory`; values with a place are taken to be there.
        order: their byte order.
        place: of the directory in the file, an even number.

    Returns:
        Bytes of an even number, whose length does not depend on `place`. The
        link to the next directory is 0; it stands behind the 12 bytes of each
        tag.
    """
    tags = {tag: tags[tag] for tag in sorted(tags)}
    behind = bytearray()
    start = place + 2 + 12 * len(tags) + 4
    entries = [struct.pack(f"{order}H", len(tags))]
    for tag, value in tags.items():
        where = start + len(behind)
        if isinstance(value, dict):
            behind += directory_bytes(value, order, where)
            entry = struct.pack(f"{order}HHLL", tag, _LONG, 1, where)
        else:
            kind, data, fixed = _narrowed(value, order)
            number = len(data) // _SIZES[kind]
            head = struct.pack(f"{order}HHL", tag, kind, number)
            if len(data) <= 4:
                entry = head + data.ljust(4, b"\0")
            else:
                place_of_data = where if fixed is None else fixed
                entry = head + struct.pack(f"{order}L", place_of_data)
                if fixed is None:
                    behind += data + bytes(len(data) % 2)
        entries.append(entry)
    return b"".join([*entries, bytes(4), bytes(behind)])


def _narrowed(value, order):
    """Numbers of 8 bytes, which only BigTIFF has, in 4."""
    if value.kind not in _LONG8:
        return value
    numbers = np.frombuffer(value.data, f"{order}u8")
    return Value(_LONG, numbers.astype(f"{order}u4").tobytes())


def exif_bytes(tags: Directory, order: str) -> bytes:
    """EXIF as in a JPEG file, from the tags of a directory."""
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + struct.pack(f"{order}HL", 42, 8)
    moved = _anywhere(tags)
    return EXIF_PREFIX + head + directory_bytes(moved, order, 8)


def _anywhere(tags):
    return {
        tag: _anywhere(value)
        if isinstance(value, dict)
        else value._replace(place=None)
        for tag, value in tags.items()
    }


def exif_tags(exif: bytes) -> tuple[Directory, str]:
    """The tags of EXIF, and their byte order.

    Raises:
        struct.error: if they are damaged.
    """
    data = exif.removeprefix(EXIF_PREFIX)
    order = byte_order(data)
    (place,) = struct.unpack_from(f"{order}L", data, 4)
    return read_directory(io.BytesIO(data), order, place), order


def has_resolution(exif: bytes | None) -> bool:
    """Whether EXIF tells the resolution of a picture."""
    try:
        return bool(exif) and X_RESOLUTION in exif_tags(exif)[0]
    except struct.error:
        return False
