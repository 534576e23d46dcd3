"""The tables of the guide on pictures, cell by cell.

What a file carries is kept, or named in a note, or the file is refused.
"""

import io
import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_radn.inference import Deblurrer
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from tests.pictures import carried
from tests.pictures.carried import chunk, png_with, resource, segment

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "pictures.md"
SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WebP": ".webp",
    "TIFF": ".tif",
    "HEIC": ".heic",
    "AVIF": ".avif",
    "JPEG 2000": ".jp2",
    "BMP": ".bmp",
    "PPM": ".ppm",
}


def table(heading):
    """Returns rows of the table below a heading, by their first words."""
    text = GUIDE.read_text().partition(f"\n## {heading}\n")[2]
    lines = re.findall(r"^\|(.*)\|$", text.partition("\n## ")[0], re.M)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {
        row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]
    }


@pytest.fixture
def image(photo):
    return Image.fromarray(photo[:32, :48])


def jpeg(image, **options):
    return carried.saved(image, "JPEG", **options)


def pages(image):
    others = {"save_all": True, "append_images": [image]}
    return carried.saved(image, "TIFF", **others)


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


# What a row of the first table means: a file that carries it.
SOURCES = {
    "EXIF": lambda image: jpeg(image, exif=carried.exif(6)),
    "makers' notes at their place": lambda image: jpeg(
        image, exif=carried.exif(order="<")
    ),
    "XMP": lambda image: jpeg(image, xmp=carried.XMP),
    "extended XMP": lambda image: jpeg(
        image, xmp=carried.LONG_XMP, extra=carried.extended_xmp()
    ),
    "ICC profile": lambda image: jpeg(image, icc_profile=carried.ICC),
    "resolution": lambda image: jpeg(image, dpi=(300, 200)),
    "IPTC, Photoshop's resources": lambda image: jpeg(
        image,
        extra=segment(
            0xED, b"Photoshop 3.0\0" + resource(0x0404, carried.IPTC)
        ),
    ),
    "comment": lambda image: jpeg(image, comment=b"a comment"),
    "texts of PNG": lambda image: png_with(
        carried.saved(image, "PNG"), chunk(b"tEXt", b"Author\0somebody")
    ),
    "gAMA, cHRM, cICP, mDCV, cLLI": lambda image: png_with(
        carried.saved(image, "PNG"),
        chunk(b"cICP", bytes([9, 16, 0, 1])),
        chunk(b"mDCV", bytes(24)),
    ),
    "time, shape of a pixel": lambda image: png_with(
        carried.saved(image, "PNG"),
        chunk(b"tIME", bytes([7, 0xE8, 1, 1, 1, 1, 1])),
        chunk(b"pHYs", bytes([0, 0, 0, 2, 0, 0, 0, 1, 0])),
    ),
    "alpha": lambda image: carried.saved(
        Image.fromarray(carried.array(np.uint8, 4)), "PNG"
    ),
    "16 bits": lambda image: tiff(carried.array(np.uint16), photometric="rgb"),
    "floating point": lambda image: tiff(
        carried.array(np.float32), photometric="rgb"
    ),
    "several pages": pages,
}

WORDS = {
    "EXIF": "EXIF",
    "makers' notes at their place": "EXIF",
    "XMP": "XMP",
    "extended XMP": "extended XMP",
    "ICC profile": "ICC profile",
    "resolution": "resolution",
    "IPTC, Photoshop's resources": "IPTC",
    "comment": "comment",
    "texts of PNG": "Author of PNG",
    "gAMA, cHRM, cICP, mDCV, cLLI": "cICP, mDCV of PNG",
    "time, shape of a pixel": "tIME, pHYs of PNG",
    "16 bits": "8 bits per channel",
    "floating point": "bits per channel",
}


def holds_exif(path, source):
    data = path.read_bytes()
    with Image.open(path) as result:
        tags = result.getexif()
        assert tags[0x010F] == "maker"
        assert tags.get(0x0112, 1) == 1
        assert tags.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 60)
        # It was turned.
        assert result.size == carried.SIZE[::-1]
        assert tags.get_ifd(0x8769)[0xA002] == carried.SIZE[1]
        assert tags.get_ifd(0x8769)[0xA003] == carried.SIZE[0]
        assert tags.get_ifd(0x8825)[0x0001] == "N"
    return carried.AUTHOR + b"\0" in data and carried.NOTE in data


def holds_notes(path, source):
    """Returns whether all values keep their place in EXIF or in the file."""
    exif, data = carried.exif(order="<")[6:], path.read_bytes()
    place = exif.index(carried.NOTE)
    if path.suffix == ".tif":
        return data[place:].startswith(carried.NOTE) and data[:2] == b"II"
    (start,) = (m.start() for m in re.finditer(re.escape(exif[:8]), data))
    return data[start + place :].startswith(carried.NOTE)


def info(key, value):
    def holds(path, source):
        with Image.open(path) as result:
            result.load()
            return result.info[key] == value

    return holds


def holds_extension(path, source):
    head = b"http://ns.adobe.com/xmp/extension/\0" + carried.GUID
    parts = carried.jpeg_segments(path, "APP1", head)
    return b"".join(part[8:] for part in parts) == carried.EXTENSION


def holds_resolution(path, source):
    with Image.open(path) as result:
        return result.info["dpi"] == pytest.approx((300, 200), abs=0.1)


def holds_iptc(path, source):
    resources = resource(0x0404, carried.IPTC)
    if path.suffix == ".jpg":
        head = b"Photoshop 3.0\0"
        return carried.jpeg_segments(path, "APP13", head) == [resources]
    if path.suffix == ".tif":
        both = carried.tiff_tag(path, 33723), carried.tiff_tag(path, 34377)
        return both == (carried.IPTC, resources)
    text = carried.png_texts(path)["Raw profile type iptc"]
    return bytes.fromhex("".join(text.split("\n")[3:])) == resources


def holds_comment(path, source):
    if path.suffix == ".png":
        return carried.png_texts(path)["Comment"] == "a comment"
    return info("comment", b"a comment")(path, source)


def holds_chunks(path, source):
    before, after = source.read_bytes(), path.read_bytes()
    names = b"cICP", b"mDCV", b"tIME", b"pHYs"
    found = [name for name in names if name in before]
    return found and all(
        after[after.index(n) - 4 :].startswith(
            before[before.index(n) - 4 : before.index(n) + 8]
        )
        for n in found
    )


def holds_alpha(path, source):
    expected = carried.array(np.uint8, 4)[..., 3].astype(int)
    if path.suffix == ".jp2":
        result = imagecodecs.jpeg2k_decode(path.read_bytes())
    elif path.suffix == ".avif":
        result = imagecodecs.avif_decode(path.read_bytes())
    elif path.suffix == ".tif":
        result = tifffile.imread(path)
    else:
        with Image.open(path) as image:
            result = np.asarray(image)
    assert result.shape[2] == 4
    return np.abs(result[..., 3] - expected).mean() < 8


def holds_depth(path, source):
    read = {".png": imagecodecs.png_decode}.get(path.suffix)
    result = read(path.read_bytes()) if read else tifffile.imread(path)
    return np.array_equal(result, tifffile.imread(source))


def holds_pages(path, source):
    with tifffile.TiffFile(path) as result:
        return len(result.pages) == 2


HOLDS = {
    "EXIF": holds_exif,
    "makers' notes at their place": holds_notes,
    "XMP": info("xmp", carried.XMP),
    "extended XMP": holds_extension,
    "ICC profile": info("icc_profile", carried.ICC),
    "resolution": holds_resolution,
    "IPTC, Photoshop's resources": holds_iptc,
    "comment": holds_comment,
    "texts of PNG": lambda path, _: (
        carried.png_texts(path) == {"Author": "somebody"}
    ),
    "gAMA, cHRM, cICP, mDCV, cLLI": holds_chunks,
    "time, shape of a pixel": holds_chunks,
    "alpha": holds_alpha,
    "16 bits": holds_depth,
    "floating point": holds_depth,
    "several pages": holds_pages,
}

KEPT = table("What is kept")


def test_the_table_is_whole():
    assert list(KEPT) == list(SOURCES)
    assert all(list(row) == list(SUFFIXES) for row in KEPT.values())


@pytest.mark.slow
@pytest.mark.parametrize("row", SOURCES)
@pytest.mark.parametrize("column", SUFFIXES)
def test_what_is_kept(row, column, image, tmp_path):
    source = tmp_path / "in"
    target = tmp_path / f"out{SUFFIXES[column]}"
    source.write_bytes(SOURCES[row](image))
    report = run_job(Job(source, target), Deblurrer(lambda x: x))
    outcome = KEPT.get(row, {}).get(column)
    if outcome == "refused":
        assert report.status == "failed"
        assert report.error.endswith((".", "output."))
        assert not target.exists()
        return
    assert report.status == "done", report.error
    if outcome == "kept":
        assert report.notes == []
        assert HOLDS[row](target, source)
    else:
        assert outcome == "noted"
        assert [WORDS[row] in note for note in report.notes].count(True) == 1
