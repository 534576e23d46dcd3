"""Photoshop's resources, among which JPEG and PNG files keep IPTC."""

import re
import struct

IPTC = 0x0404
# They would show the picture as it was.
_THUMBNAILS = (0x0409, 0x040C)
_SIGNATURE = b"8BIM"


def _resources(data):
    """Number, content, and all bytes of each resource.

    Raises:
        struct.error: if they are damaged.
    """
    start, length = 0, len(data.rstrip(b"\0"))
    while start < length:
        signature, number, name = struct.unpack_from(">4sHB", data, start)
        if not re.fullmatch(rb"[0-9A-Za-z]{4}", signature):
            raise struct.error("no signature")
        content = start + 6 + (name + 2) // 2 * 2
        (size,) = struct.unpack_from(">L", data, content)
        content += 4
        if content + size > len(data):
            raise struct.error("cut off")
        end = content + size + size % 2
        yield number, data[content : content + size], data[start:end]
        start = end


def without_thumbnails(data: bytes) -> bytes:
    """Resources without pictures; as they are if they are damaged."""
    try:
        resources = list(_resources(data))
    except struct.error:
        return data
    if not any(number in _THUMBNAILS for number, *_ in resources):
        return data
    return b"".join(
        all_ for number, _, all_ in resources if number not in _THUMBNAILS
    )


def iptc_of(data: bytes) -> bytes | None:
    """IPTC's records among resources; None if there are none."""
    try:
        found = [c for number, c, _ in _resources(data) if number == IPTC]
    except struct.error:
        return None
    return found[0] if found else None


def with_iptc(data: bytes, iptc: bytes | None) -> bytes:
    """Resources with these records, unless they have some."""
    if not iptc or iptc_of(data):
        return data
    size = struct.pack(">L", len(iptc))
    head = _SIGNATURE + struct.pack(">HH", IPTC, 0) + size
    return data + head + iptc + bytes(len(iptc) % 2)
