"""The times of frames, and the other streams and tags of a file."""

from fractions import Fraction

import av
import numpy as np
import pytest

from keras_radn.inference.video.process import deblur_video
from tests.inference.video.clips import (
    darker,
    moving,
    packets,
    read_frames,
    seconds,
    write_clip,
)

# In ticks of 90 kHz.
VARIABLE = [0, 3600, 7201, 9000, 18000, 18001, 25200, 30000, 60000, 63333]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_times_of_a_variable_frame_rate(tmp_path, photo, suffix):
    """A late start is kept; Matroska and WebM round to milliseconds."""
    times = [90 * round(t / 90) + 126000 for t in VARIABLE]
    times[5] += 90  # no two in one millisecond
    clip = write_clip(tmp_path / "a.mov", moving(photo, 10), times=times)
    target = tmp_path / f"b{suffix}"
    deblur_video(clip, target, darker)
    before, after = read_frames(clip), read_frames(target)
    assert seconds(before) == [Fraction(t, 90000) for t in times]
    assert seconds(after) == seconds(before)


def write_with_all_streams(path, frames, subtitle):
    """Writes sounds, a subtitle, an attachment, chapters and tags beside."""
    with av.open(path, "w") as container:
        container.metadata.update(title="A walk", location="+52.5+013.4/")
        stream = container.add_stream("libx264", 10)
        stream.width, stream.height = 64, 48
        stream.metadata["language"] = "und"
        sounds = [container.add_stream("libopus", 48000) for _ in range(2)]
        sounds[1].metadata.update(language="ger", title="Kommentar")
        sounds[1].disposition = av.stream.Disposition.comment
        text = container.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        container.add_attachment("font.ttf", "font/ttf", b"letters")
        container.set_chapters(
            [
                {
                    "id": i,
                    "start": 1000 * i,
                    "end": 1000 * i + 1000,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": f"Part {i}"},
                }
                for i in range(3)
            ]
        )
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        packet = av.Packet(subtitle)
        packet.stream, packet.time_base = text, Fraction(1, 1000)
        packet.pts = packet.dts = 500
        packet.duration = 1200
        container.mux(packet)
        for sound in sounds:
            block = av.AudioFrame.from_ndarray(
                np.zeros((1, 96000), np.int16), "s16", "stereo"
            )
            block.sample_rate = 48000
            container.mux(sound.encode(block))
            container.mux(sound.encode())


def test_other_streams_chapters_and_tags(tmp_path, photo):
    path, subtitle = tmp_path / "a.mkv", b"Deblurred"
    write_with_all_streams(path, moving(photo, 30), subtitle)
    target = tmp_path / "b.mkv"
    assert deblur_video(path, target, darker) == []
    with av.open(path) as old, av.open(target) as new:
        assert old.metadata.pop("ENCODER")
        assert new.metadata.pop("ENCODER")
        assert new.metadata == old.metadata
        assert new.metadata["title"] == "A walk"
        assert new.chapters() == old.chapters()
        assert len(new.chapters()) == 3
        assert [s.type for s in new.streams] == [s.type for s in old.streams]
        for a, b in zip(old.streams, new.streams, strict=True):
            assert b.disposition == a.disposition
            assert b.language == a.language
            assert b.metadata.get("title") == a.metadata.get("title")
        assert new.streams.audio[1].language == "ger"
        assert new.streams.attachments[0].data == b"letters"
    [(time, content)] = packets(target, "subtitles")
    assert (time, content) == (Fraction(1, 2), subtitle)
    with pytest.raises(ValueError, match=r"subtitle.*\.mp4.*\.mkv"):
        deblur_video(path, tmp_path / "c.mp4", darker)
    with pytest.raises(ValueError, match=r"subtitle.*\.webm"):
        deblur_video(path, tmp_path / "c.webm", darker)
    assert {p.name for p in tmp_path.iterdir()} == {"a.mkv", "b.mkv"}


def test_tags_of_a_telephone(tmp_path, photo):
    tags = {"title": "A walk", "com.apple.quicktime.make": "Maker"}
    clip = write_clip(
        tmp_path / "a.mov",
        moving(photo, 2),
        describe=lambda container, _: container.metadata.update(tags),
        container_options={"movflags": "use_metadata_tags"},
    )
    deblur_video(clip, tmp_path / "b.mov", darker)
    with av.open(tmp_path / "b.mov") as container:
        assert tags.items() <= container.metadata.items()
