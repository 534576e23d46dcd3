"""Pictures of other libraries, read without loss or with a note."""

import re

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from keras_radn.inference import Deblurrer
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from keras_radn.pictures.jpeg import jpeg_quality
from keras_radn.pictures.reading import read_pages, read_picture
from tests.pictures import carried


@pytest.mark.parametrize("maximum", [65535, 1023])
@pytest.mark.parametrize("kind", ["P5", "P2"])
def test_deep_pgm(maximum, kind, rng):
    array = rng.integers(0, maximum + 1, (20, 30), np.uint16)
    body = array.astype(">u2").tobytes()
    if kind == "P2":
        body = " ".join(map(str, array.ravel())).encode()
    picture = read_picture(f"{kind} 30 20 {maximum}\n".encode() + body)
    expected = np.rint(array / maximum * 65535)
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.pixels.dtype == np.uint16
    assert picture.notes == ()


def ppm(array, bits):
    header = f"P6 {array.shape[1]} {array.shape[0]} {2**bits - 1}\n".encode()
    return header + array.astype(">u2" if bits > 8 else "u1").tobytes()


def jpeg_2000(codecformat):
    def encode(array, bits):
        return imagecodecs.jpeg2k_encode(
            array, level=0, codecformat=codecformat, bitspersample=bits
        )

    return encode


def avif(array, bits):
    return imagecodecs.avif_encode(array, bitspersample=bits)


@pytest.mark.parametrize(
    ("encode", "bits"),
    [
        *((ppm, bits) for bits in (8, 10, 16)),
        *((jpeg_2000("jp2"), bits) for bits in (8, 12, 16)),
        (jpeg_2000("j2k"), 12),
        *((avif, bits) for bits in (8, 10, 12)),
    ],
)
def test_notes_on_lost_depth(encode, bits, photo):
    array = photo[:32, :32].astype(np.uint16 if bits > 8 else np.uint8)
    data = encode(array << (bits - 8), bits)
    picture = read_picture(data)
    difference = picture.pixels.astype(int) - photo[:32, :32]
    assert np.abs(difference).mean() < 4
    note = f"of {bits} bits per channel 8 were read"
    assert picture.notes == ((note,) if bits > 8 else ())


def test_deep_gray_jpeg_2000(rng):
    array = rng.integers(0, 65536, (20, 30), np.uint16)
    data = imagecodecs.jpeg2k_encode(array, level=0, reversible=True)
    picture = read_picture(data)
    np.testing.assert_array_equal(
        picture.pixels, imagecodecs.jpeg2k_decode(data)
    )
    assert picture.notes == ()


PYTHONS = re.compile(
    r"argument|NoneType|attribute|sequence|subscript|index|unpack|"
    r"buffer|operand|broadcast|iterable|Error|tuple|bytes-like"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix", ["TIFF", "PNG", "JPEG", "WEBP", "BMP", "GIF"]
)
def test_sentences_are_not_those_of_python(suffix, photo):
    """Bytes are lost or changed at random."""
    image = Image.fromarray(photo[:16, :16])
    data, random = carried.saved(image, suffix), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(4, min(len(data), 400), 3):
            damaged[place] = random.integers(256)
        end = random.integers(8, len(data)) if random.random() < 0.3 else None
        sentence = refusal(bytes(damaged[:end]))
        assert sentence is None or sentence.startswith("<bytes>: ")
        assert not PYTHONS.search(sentence or "")


def refusal(data):
    try:
        list(read_pages(data))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_lossless_jpeg(channels, suffix, tmp_path):
    """DICOM has such files, of 8 bits; the result's quality is the default."""
    array = carried.array(np.uint8, channels)
    if channels == 1:
        data = imagecodecs.ljpeg_encode(array[..., 0])
    else:
        data = imagecodecs.jpeg8_encode(array, lossless=True)
    source, target = tmp_path / "a.jpg", tmp_path / f"b{suffix}"
    source.write_bytes(data)
    report = run_job(Job(source, target), Deblurrer(lambda x: x))
    assert (report.status, report.notes) == ("done", [])
    with Image.open(target) as image:
        result = np.asarray(image).reshape(array.shape).astype(int)
        if suffix == ".jpg":
            assert jpeg_quality(image.quantization) == 95
            assert np.abs(result - array).mean() < 6
        else:
            np.testing.assert_array_equal(result, array)
