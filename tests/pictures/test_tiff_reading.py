"""TIFF files of other programs: their tags, byte orders and colors."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from keras_radn.inference import Deblurrer
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from keras_radn.pictures.reading import read_pages, read_picture
from tests.pictures import carried

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>
</x:xmpmeta>"""


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp"])
@pytest.mark.parametrize("tags", [[6], [1], []])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_in_xmp_of_tiff(suffix, tags, dtype, photo, tmp_path):
    """It counts without a tag, and Pillow shows the result alike."""
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
    """Pillow cannot read such files."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        rng.integers(0, 65536, (20, 30), np.uint16),
        byteorder=">",
        bigtiff=True,
        metadata=None,
        extratags=[(0x010F, 2, 0, "maker")],
    )
    picture = read_picture(file.getvalue())
    assert picture.notes == ()
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[0x010F] == "maker"


def without_tag(data, tag):
    """Removes a tag from the first directory of a TIFF file."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    end = start + 2 + 12 * count
    entries = [data[i : i + 12] for i in range(start + 2, end, 12)]
    kept = [e for e in entries if struct.unpack(f"{order}H", e[:2])[0] != tag]
    assert len(kept) == count - 1
    directory = struct.pack(f"{order}H", count - 1) + b"".join(kept)
    directory += data[end : end + 4]
    return data[:start] + directory + data[start + len(directory) :]


def plain_tiff(dtype, channels):
    array = carried.array(dtype, channels)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array[..., 0] if channels == 1 else array,
        photometric="rgb" if channels > 1 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        resolution=(300, 300),
        resolutionunit=2,
        rowsperstrip=1000,
        metadata=None,
        extratags=[(tag, 3, 1, 1) for tag in (263, 266, 274, 317)],
    )
    return file.getvalue(), array[..., 0] if channels == 1 else array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("tag", "channels"),
    [
        *((tag, 3) for tag in (259, 263, 274, 278, 279, 284, 296)),
        *((tag, 1) for tag in (259, 263, 274, 277, 278, 279, 296)),
    ],
)
def test_tags_of_tiff_with_defaults(tag, channels, dtype, tmp_path):
    """ImageJ and other programs leave them out."""
    data, array = plain_tiff(dtype, channels)
    data = without_tag(data, tag)
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, array)
    assert picture.metadata.dpi == pytest.approx((300, 300))
    assert picture.encoding.compression == "NONE"
    (tmp_path / "a.tif").write_bytes(data)
    job = Job(tmp_path / "a.tif", tmp_path / "b.tif")
    assert run_job(job, Deblurrer(lambda x: x)).status == "done"
    np.testing.assert_array_equal(tifffile.imread(job.target), array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("tag", "channels", "words"),
    [
        (256, 3, "without the tag ImageWidth"),
        (257, 1, "without the tag ImageLength"),
        (262, 1, "without the tag PhotometricInterpretation"),
        (273, 3, "without the tag StripOffsets"),
        (277, 3, "RGB with 1 samples"),
    ],
)
def test_tags_of_tiff_without_defaults(tag, channels, words, dtype):
    """The file is refused rather than read wrongly."""
    data, _ = plain_tiff(dtype, channels)
    with pytest.raises(ValueError, match=rf"^<bytes>: .*{words}.*\.$"):
        read_picture(without_tag(data, tag))


def test_no_tiff_shows_the_errors_of_python():
    """Bits of a directory are flipped one by one."""
    data, _ = plain_tiff(np.uint16, 3)
    (start,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for place in range(start, start + 2 + 12 * count):
        for bit in range(0, 8, 3):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with contextlib.suppress(ValueError):
                list(read_pages(bytes(damaged)))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cmyk_of_tiff(planar, dtype, compression):
    """Without a profile, the formula of TIFF 6.0 is used."""
    array = carried.array(dtype, 4)
    stored = np.moveaxis(array, -1, 0) if planar == "separate" else array
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        np.ascontiguousarray(stored),
        photometric="separated",
        planarconfig=planar,
        compression=compression,
    )
    picture = read_picture(file.getvalue())
    ink = array / np.iinfo(dtype).max
    expected = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    np.testing.assert_allclose(picture.pixels, expected, atol=2)
    assert ("of 16 bits per channel 8 were read" in picture.notes) == (
        dtype == np.uint16
    )
    assert any("approximate" in note for note in picture.notes)


def premultiplied(array, alpha):
    """Returns a TIFF file of colors multiplied by alpha."""
    file = io.BytesIO()
    both = np.dstack([array, alpha])
    tifffile.imwrite(
        file,
        both,
        photometric="rgb",
        extrasamples=["assocalpha"],
        metadata=None,
    )
    return file.getvalue()


def test_premultiplied_floats(rng, tmp_path):
    """Values beyond 1 are an error, as for other floats."""
    colors = rng.random((8, 9, 3), np.float32)
    alpha = rng.random((8, 9), np.float32)
    alpha[0, 0] = 0
    data = premultiplied(colors * alpha[..., np.newaxis], alpha)
    picture = read_picture(data)
    expected = np.where(alpha[..., np.newaxis] > 0, colors, 0)
    np.testing.assert_allclose(picture.pixels, expected, atol=1e-6)
    source = tmp_path / "a.tif"
    colors[3, 3] = 1.5
    source.write_bytes(premultiplied(colors * alpha[..., np.newaxis], alpha))
    report = run_job(Job(source, tmp_path / "b.tif"), Deblurrer(lambda x: x))
    assert report.status == "failed"
    assert "must be in [0, 1]" in report.error
    for value in (1.5, -0.5, np.nan):
        alpha[4, 4] = value
        with pytest.raises(ValueError, match=r"alpha that is not in \[0, 1\]"):
            read_picture(premultiplied(colors, alpha))


def test_premultiplied_integers():
    """Results are rounded; a color above its alpha gets a note."""
    alpha = np.full((4, 5), 40_000, np.uint16)
    colors = np.full((4, 5, 3), 13_107, np.uint16)
    picture = read_picture(premultiplied(colors, alpha))
    np.testing.assert_array_equal(
        picture.pixels, np.rint(13_107 / 40_000 * 65_535)
    )
    assert picture.notes == ()
    colors[0, 0] = 50_000
    picture = read_picture(premultiplied(colors, alpha))
    assert picture.pixels[0, 0, 0] == 65_535
    assert picture.notes == (
        "colors brighter than their alpha allows were cut off",
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_inverted_gray_with_alpha(dtype):
    array = carried.array(dtype, 2)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array,
        photometric="miniswhite",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    picture = read_picture(file.getvalue())
    white = 65_535 if dtype == np.uint16 else 1
    np.testing.assert_array_equal(picture.pixels, white - array[..., 0])
    np.testing.assert_array_equal(picture.alpha, array[..., 1])
