"""What is kept of a video, and which videos are refused."""

import resource
import sys

import av
import numpy as np
import pytest
from PIL import Image

from keras_radn import Deblurrer
from keras_radn.inference.video import plan as video_plan
from keras_radn.inference.video.process import deblur_video
from tests.inference.video.clips import (
    identity,
    moving,
    packets,
    planes,
    read_frames,
    write_clip,
)


def test_what_is_not_changed_stays(clip, tmp_path, lossless):
    target = tmp_path / "out.mp4"
    done = []
    notes = deblur_video(
        clip, target, identity, progress=lambda *a: done.append(a)
    )
    assert notes == []
    assert done == [(i, 5) for i in range(1, 6)]
    before, after = read_frames(clip), read_frames(target)
    assert len(before) == len(after) == 5
    for old, new in zip(before, after, strict=True):
        assert new.format.name == "yuv420p"
        for a, b in zip(planes(old), planes(new), strict=True):
            np.testing.assert_array_equal(a, b)
    assert packets(target, "audio") == packets(clip, "audio")
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mp4", "out.mp4"}


def test_small_tiles_have_a_smaller_overlap(clip, tmp_path):
    """The default overlap depends on the tile, as for pictures."""
    target = tmp_path / "out.mp4"
    assert deblur_video(clip, target, Deblurrer(identity, tile=32)) == []
    assert len(read_frames(target)) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.mp4", "no such file"),
        ("text.mp4", "not a readable video"),
        ("empty.mkv", "not a readable video"),
        ("sound.m4a", "no moving pictures"),
        ("folder.mp4", "not a readable video"),
        ("cut.mp4", "not a readable video"),
        ("holes.mp4", "not a readable video"),
        ("noise.mp4", r"is damaged at 0\.08 s"),
        ("interlaced.mkv", "interlaced"),
        ("ycgco.mkv", "matrix 8"),
        ("sizes.mjpeg", "from 64x48 yuvj420p to 32x24 yuvj420p"),
    ],
)
def test_bad_sources(clip, tmp_path, photo, name, message):
    path = tmp_path / "in" / name
    path.parent.mkdir()
    data = clip.read_bytes()
    middle = len(data) // 2
    with av.open(clip) as container:
        third = list(container.demux(video=0))[2]
    hole = slice(third.pos + 30, third.pos + third.size)
    contents = {
        "text.mp4": b"no video",
        "empty.mkv": b"",
        "cut.mp4": data[:middle],
        "holes.mp4": data[: hole.start]
        + bytes(hole.stop - hole.start)
        + data[hole.stop :],
        "noise.mp4": data[: hole.start]
        + bytes([255]) * (hole.stop - hole.start)
        + data[hole.stop :],
    }
    if name in contents:
        path.write_bytes(contents[name])
    elif name == "folder.mp4":
        path.mkdir()
    elif name == "sound.m4a":
        with av.open(path, "w", format="mp4") as container:
            stream = container.add_stream("aac", 48000)
            block = av.AudioFrame.from_ndarray(
                np.zeros((2, 4096), np.float32), "fltp", "stereo"
            )
            block.sample_rate = 48000
            container.mux(stream.encode(block))
            container.mux(stream.encode())
    elif name == "interlaced.mkv":
        flags = av.codec.context.Flags

        def interlace(_, stream):
            stream.codec_context.flags |= flags.interlaced_dct

        write_clip(path, moving(photo, 3), describe=interlace)
    elif name == "sizes.mjpeg":
        with path.open("wb") as stream:
            for side in (64, 64, 32):
                Image.fromarray(photo[: side * 3 // 4, :side]).save(
                    stream, "JPEG"
                )
    elif name == "ycgco.mkv":
        write_clip(path, moving(photo, 2), colorspace=8)
    target = tmp_path / "out.mp4"
    with pytest.raises((ValueError, OSError), match=message) as caught:
        deblur_video(path, target, identity)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mp4", "in"}


def test_an_encoder_is_missing(clip, tmp_path, monkeypatch):
    encoder = video_plan.Encoder("libx999", {})
    monkeypatch.setitem(video_plan._FORMATS, ".mov", ("mov", encoder, encoder))
    with pytest.raises(ValueError, match="no encoder libx999"):
        deblur_video(clip, tmp_path / "a.mov", identity)


def test_bad_targets(clip, tmp_path):
    before = clip.read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        deblur_video(clip, clip, identity)
    with pytest.raises(ValueError, match=r"\.mp4, \.m4v, \.mov"):
        deblur_video(clip, tmp_path / "a.avi", identity)
    with pytest.raises(ValueError, match=r"\.v2: .* end in a slash"):
        deblur_video(clip, tmp_path / "a.v2", identity)
    with pytest.raises(OSError, match="cannot be written"):
        deblur_video(clip, tmp_path / "none" / "a.mp4", identity)
    assert clip.read_bytes() == before
    assert list(tmp_path.iterdir()) == [clip]


def test_disk_is_full(clip, tmp_path):
    target = tmp_path / "a.mp4"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.mp4: cannot be written"):
            deblur_video(clip, target, identity)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # The frames are done; only the whole has no place.
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mp4", ".a.mp4.parts"}
    deblur_video(clip, target, identity)
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mp4", "a.mp4"}


def test_pyav_is_missing(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"keras-radn\[video\]"):
        deblur_video(clip, tmp_path / "a.mp4", identity)
