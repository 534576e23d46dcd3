"""Pictures written by other libraries, read without loss or with a note."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from keras_radn.inference import Deblurrer
from keras_radn.inference.files import run_job
from keras_radn.inference.planning import Job
from keras_radn.inference.reading import read_picture

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>
</x:xmpmeta>"""


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp"])
@pytest.mark.parametrize("tags", [[6], [1], []])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_in_xmp_of_tiff(suffix, tags, dtype, photo, tmp_path):
    """It counts without a tag; shown by Pillow, the result is as the source."""
    array = photo[:20, :30].astype(dtype) * (np.iinfo(dtype).max // 255)
    source, target = tmp_path / "in.tif", tmp_path / f"out{suffix}"
    extra = [(700, 1, len(XMP), XMP), *((274, 3, 1, tag) for tag in tags)]
    tifffile.imwrite(source, array, photometric="rgb", extratags=extra)
    report = run_job(Job(source, target), Deblurrer(lambda x: x))
    assert report.status == "done"
    with Image.open(source) as before, Image.open(target) as after:
        assert b"tiff:Orientation" in after.info["xmp"]
        before = ImageOps.exif_transpose(before)
        after = ImageOps.exif_transpose(after)
        assert before.size == ((30, 20) if tags == [1] else (20, 30))
        assert after.size == before.size
    expected = array if tags == [1] else np.rot90(array, -1)
    np.testing.assert_array_equal(read_picture(source).pixels, expected)


@pytest.mark.parametrize(
    ("subifds", "tags"), [(1, []), (0, [(50706, 1, 4, b"\1\4\0\0", True)])]
)
def test_raw_files_are_refused(subifds, tags, photo, tmp_path):
    """Their first picture is small; the raw one is below it or unknown."""
    with tifffile.TiffWriter(tmp_path / "a.dng") as tiff:
        tiff.write(
            photo[:8, :8],
            photometric="rgb",
            subfiletype=1,
            subifds=subifds,
            extratags=tags,
        )
        if subifds:
            raw = photo[:32, :32, 1].astype(np.uint16)
            tiff.write(raw, photometric="cfa", subfiletype=0)
    with pytest.raises(ValueError, match=r"a\.dng: is a raw file .* develop"):
        read_picture(tmp_path / "a.dng")


def test_a_reduced_picture_alone(photo, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo[:8, :8], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_picture(path).pixels, photo[:8, :8])


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


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tags_of_all_kinds_of_tiff(byteorder, bigtiff, rng):
    array = rng.integers(0, 65536, (20, 30, 3), np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array,
        photometric="rgb",
        byteorder=byteorder,
        bigtiff=bigtiff,
        iccprofile=ICC,
        resolution=(300, 300),
        software=False,
        metadata=None,
        extratags=[(274, 3, 1, 6), (700, 1, len(XMP), XMP)],
    )
    picture = read_picture(file.getvalue())
    np.testing.assert_array_equal(picture.pixels, np.rot90(array, -1))
    assert picture.metadata.icc_profile == ICC
    assert picture.metadata.xmp == XMP.replace(b'"6"', b'"1"')
    assert picture.metadata.dpi == pytest.approx((300, 300))
    assert picture.notes == ()


def test_exif_of_big_endian_bigtiff(rng):
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        rng.integers(0, 65536, (20, 30), np.uint16),
        byteorder=">",
        bigtiff=True,
        extratags=[(0x010F, 2, 0, "maker")],
    )
    (note,) = read_picture(file.getvalue()).notes
    assert "EXIF data of a big-endian BigTIFF file are left out" in note
