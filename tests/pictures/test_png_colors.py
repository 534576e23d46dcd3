"""Chunks that define the colors of a PNG file."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from keras_radn.inference import Deblurrer
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB_CHROMA = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
WIDE_CHROMA = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)

LINEAR = {b"gAMA": struct.pack(">L", 100_000)}
WIDE = LINEAR | {b"cHRM": struct.pack(">8L", *WIDE_CHROMA)}
HDR = {b"cICP": bytes([9, 16, 0, 1])}
SRGB = {b"sRGB": b"\0"}
LIKE_SRGB = {
    b"gAMA": struct.pack(">L", 45455),
    b"cHRM": struct.pack(">8L", *SRGB_CHROMA),
}


def save(path, array, chunks, icc_profile=None):
    info = PngImagePlugin.PngInfo()
    for chunk in chunks.items():
        info.add(*chunk)
    image = Image.fromarray(array)
    image.save(path, pnginfo=info, icc_profile=icc_profile)


def color_chunks(path):
    """Returns the chunks before the pixels, by Pillow's parser."""
    chunks = {}
    with io.BytesIO(path.read_bytes()) as file:
        file.seek(8)
        stream = PngImagePlugin.ChunkStream(file)
        while (header := stream.read())[0] != b"IDAT":
            name, _, length = header
            chunks[name] = file.read(length)
            stream.crc(name, chunks[name])
    return {n: chunks[n] for n in (*WIDE, *HDR, *SRGB) if n in chunks}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("chunks", [LINEAR, WIDE, HDR | WIDE, SRGB, LIKE_SRGB])
def test_png_to_png(chunks, dtype, photo, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    save(source, photo[:20, :30, 0].astype(dtype), chunks)
    assert color_chunks(source) == chunks
    report = run_job(Job(source, target), Deblurrer(lambda x: x))
    assert report.notes == []
    assert color_chunks(target) == chunks
    with Image.open(source) as before, Image.open(target) as after:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize(
    ("chunks", "icc_profile", "lost"),
    [
        (WIDE, None, ["gAMA", "cHRM"]),
        (HDR, ICC, ["cICP"]),
        (LIKE_SRGB | LINEAR, None, ["gAMA"]),
        # Nothing that counts.
        (LIKE_SRGB, None, []),
        (LIKE_SRGB | SRGB, None, []),
        (WIDE, ICC, []),
        (SRGB, None, []),
    ],
)
def test_png_to_others(suffix, chunks, icc_profile, lost, photo, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / f"b{suffix}"
    save(source, photo[:20, :30], chunks, icc_profile)
    report = run_job(Job(source, target), Deblurrer(lambda x: x))
    assert report.status == "done"
    notes = [note for note in report.notes if "of PNG" in note]
    assert len(notes) == bool(lost)
    for name in lost:
        assert name in notes[0]


def test_one_of_srgb_and_profile(photo, tmp_path):
    """The specification forbids both."""
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    save(source, photo[:20, :30, 0].astype(np.uint16), LINEAR, ICC)
    data = source.read_bytes()
    chunk = io.BytesIO()
    PngImagePlugin.putchunk(chunk, b"sRGB", b"\0")
    source.write_bytes(data[:33] + chunk.getvalue() + data[33:])
    run_job(Job(source, target), Deblurrer(lambda x: x))
    assert color_chunks(target) == LINEAR
    with Image.open(target) as image:
        assert image.info["icc_profile"] == ICC
