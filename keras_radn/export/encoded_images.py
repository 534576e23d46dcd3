"""JPEG and PNG to pixels and back by TensorFlow's own ops, for served graphs.

All of it works on images of any kind within one graph, and on hostile ones:
what is wrong with them is an `InvalidArgumentError` for the request.
"""

import tensorflow as tf

# EXIF stands in the first segments of a file.
_EXIF_BYTES = 65536 + 4096


def decode(contents: tf.Tensor, max_pixels: int) -> tuple:
    """Decodes one image and turns it upright.

    JPEG as its EXIF orientation says. Of 16 bits per channel the upper 8 are
    kept; palettes become RGB.

    Args:
        contents: scalar string, a JPEG or PNG file.
        max_pixels: larger images are refused by what their header says,
            before they are decoded.

    Returns:
        The colours, uint8 `(height, width, 1 or 3)`, and the opacity, uint8
        `(height, width, 0 or 1)`.
    """
    is_jpeg = tf.strings.substr(contents, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(contents, 0, 8) == b"\x89PNG\r\n\x1a\n"
    contents = checked(
        contents,
        is_jpeg | (is_png & (tf.strings.length(contents) >= 24)),
        "An image is neither JPEG nor PNG; encode it as one of them.",
    )
    size = tf.cond(
        is_jpeg,
        lambda: tf.image.extract_jpeg_shape(contents, tf.int64)[:2],
        lambda: _png_size(contents),
    )
    contents = check_size(contents, size, max_pixels)
    pixels = tf.cond(
        is_jpeg,
        lambda: _decode_jpeg(contents),
        lambda: tf.io.decode_png(contents, channels=0),
    )
    channels = tf.shape(pixels)[2]
    colors = channels - (channels + 1) % 2  # 2 and 4 have opacity
    return pixels[..., :colors], pixels[..., colors:]


def encode(colors: tf.Tensor, opacity: tf.Tensor) -> tf.Tensor:
    """A PNG file.

    Args:
        colors: float32 `(height, width, 1 or 3)` in [0, 1].
        opacity: uint8 `(height, width, 0 or 1)`.

    Returns:
        Scalar string.
    """
    colors = tf.cast(tf.round(colors * 255), tf.uint8)
    return tf.io.encode_png(tf.concat([colors, opacity], axis=-1))


def check_size(
    tensor: tf.Tensor, size: tf.Tensor, max_pixels: int
) -> tf.Tensor:
    """Refuses images that are empty or would fill the memory.

    Args:
        tensor: what is computed with after the check.
        size: height and width.
        max_pixels: the largest allowed product of both.

    Returns:
        The tensor.
    """
    height, width = tf.unstack(tf.cast(size, tf.int64))
    # Sides first: a product of hostile ones could overflow.
    fits = (height <= max_pixels) & (width <= max_pixels)
    fits &= (height >= 1) & (width >= 1) & (height * width <= max_pixels)
    message = [
        "An image has ",
        *(tf.strings.as_string(width), "x", tf.strings.as_string(height)),
        f" pixels; 1 to {max_pixels} are processed.",
    ]
    return checked(tensor, fits, tf.strings.join(message))


def checked(
    tensor: tf.Tensor, condition: tf.Tensor, message: str | tf.Tensor
) -> tf.Tensor:
    """The tensor, after an `InvalidArgumentError` if a condition fails."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def _png_size(contents):
    """Height and width from the header, which comes first in every PNG."""
    header = tf.io.decode_raw(
        tf.strings.substr(contents, 16, 8), tf.uint8, fixed_length=8
    )
    size = _integer(tf.reshape(header, [2, 4]), little_endian=False)
    return size[::-1]


def _decode_jpeg(contents):
    pixels = tf.io.decode_jpeg(contents, dct_method="INTEGER_ACCURATE")
    return _upright(pixels, _orientation(contents))


def _upright(pixels, orientation):
    """Undoes one of EXIF's orientations 1 to 8."""

    def where(orientations, change):
        chosen = tf.reduce_any(orientation == tf.constant(orientations))
        return tf.cond(chosen, lambda: change(pixels), lambda: pixels)

    pixels = where([5, 6, 7, 8], lambda x: tf.transpose(x, [1, 0, 2]))
    pixels = where([2, 3, 6, 7], lambda x: x[:, ::-1])
    return where([3, 4, 7, 8], lambda x: x[::-1])


def _orientation(contents):
    """The tag 0x0112 of the first directory of a JPEG's EXIF data, or 1.

    CIPA DC-008 (EXIF 2.32), sections 4.5 and 4.6.
    """
    start = tf.io.decode_raw(
        tf.strings.substr(contents, 0, _EXIF_BYTES),
        tf.uint8,
        fixed_length=_EXIF_BYTES,
    )
    # An APP1 segment: FF E1, two bytes of length, "Exif", two zeros.
    marks = {0: 0xFF, 1: 0xE1, 4: 0x45, 5: 0x78, 6: 0x69, 7: 0x66, 8: 0, 9: 0}
    places = _EXIF_BYTES - 10
    found = tf.ones([places], tf.bool)
    for offset, byte in marks.items():
        found &= start[offset : offset + places] == byte
    tiff = tf.argmax(tf.cast(found, tf.int32)) + 10

    def read(place, count, length):
        """Integers of some bytes; beyond the end there are zeros."""
        index = place + tf.range(count * length, dtype=tf.int64)
        inside = (index >= 0) & (index < _EXIF_BYTES)
        values = tf.gather(start, tf.where(inside, index, 0))
        values = tf.where(inside, values, tf.zeros_like(values))
        return tf.reshape(values, [count, length])

    little_endian = read(tiff, 1, 1)[0, 0] == 0x49
    directory = tiff + _integer(read(tiff + 4, 1, 4), little_endian)[0]
    count = _integer(read(directory, 1, 2), little_endian)[0]
    # A directory holds some dozens of entries of 12 bytes.
    entries = read(directory + 2, tf.minimum(count, 256), 12)
    is_tag = _integer(entries[:, :2], little_endian) == 0x0112
    value = _integer(entries[:, 8:10], little_endian)
    value = tf.reduce_max(tf.where(is_tag, value, 0))
    valid = tf.reduce_any(found) & (value >= 1) & (value <= 8)
    return tf.cast(tf.where(valid, value, 1), tf.int32)


def _integer(octets, little_endian):
    """int64 `(count,)` of bytes `(count, length)`."""
    octets = tf.cast(octets, tf.int64)
    weights = 256 ** tf.range(octets.shape[1], dtype=tf.int64)
    weights = tf.where(little_endian, weights, weights[::-1])
    return tf.reduce_sum(octets * weights, axis=1)
