import itertools
import resource
import sys
from fractions import Fraction

import av
import keras
import numpy as np
import pytest
from PIL import Image

from keras_radn import Deblurrer, inference_model
from keras_radn.inference.video import plan as video_plan
from keras_radn.inference.video import process as video
from keras_radn.inference.video.parts import decode_times
from keras_radn.inference.video.process import deblur_video

# In ticks of 90 kHz.
VARIABLE = [0, 3600, 7201, 9000, 18000, 18001, 25200, 30000, 60000, 63333]


def identity(batch):
    return batch


def darker(batch):
    return batch * 0.5


def moving(photo, count, size=(64, 48)):
    """A window that moves over a photograph."""
    width, height = size
    return [
        photo[100 : 100 + height, 100 + 2 * i : 100 + 2 * i + width]
        for i in range(count)
    ]


def write_clip(
    path,
    frames,
    codec="libx264",
    pix_fmt="yuv420p",
    times=None,
    time_base=Fraction(1, 90000),
    rate=25,
    sound=None,
    options=(("qp", "0"),),
    rotation=None,
    describe=lambda container, stream: None,
    container_options=None,
    **context,
):
    """A video without loss, of RGB pictures or of planes as they are."""
    with av.open(path, "w", container_options=container_options) as container:
        stream = container.add_stream(
            codec, rate, dict(options), time_base=time_base
        )
        height, width = frames[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        describe(container, stream)
        audio = container.add_stream(sound, 48000) if sound else None
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=context.get("colorspace"),
                dst_color_range=context.get("color_range"),
            )
            frame.time_base = time_base
            frame.pts = times[i] if times else round(i / rate / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            tone = np.sin(np.arange(48000) / 48000 * 2 * np.pi * 440)
            block = av.AudioFrame.from_ndarray(
                np.float32(tone)[np.newaxis].repeat(2, 0), "fltp", "stereo"
            )
            block.sample_rate, block.pts = 48000, 0
            container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def read_frames(path):
    with av.open(path) as container:
        return list(container.decode(video=0))


def exact_rgb(frame):
    flag = av.video.reformatter.Interpolation
    flags = flag.BICUBIC | flag.ACCURATE_RND | flag.FULL_CHR_H_INT
    return frame.to_ndarray(format="rgb24", interpolation=flags).astype(float)


def planes(frame):
    return [
        np.frombuffer(
            plane,
            np.uint16 if frame.format.components[0].bits > 8 else np.uint8,
        )
        .reshape(plane.height, -1)[:, : plane.width]
        .astype(int)
        for plane in frame.planes
    ]


def seconds(frames):
    return [frame.pts * Fraction(frame.time_base) for frame in frames]


def packets(path, kind):
    """Times in seconds and contents of a stream's packets."""
    with av.open(path) as container:
        [stream] = getattr(container.streams, kind)
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]


@pytest.fixture
def clip(tmp_path, photo):
    return write_clip(tmp_path / "clip.mp4", moving(photo, 5), sound="aac")


@pytest.fixture
def lossless(monkeypatch):
    """Lets the encoders of H.264 and HEVC keep each number."""
    monkeypatch.setitem(video_plan.H264.options, "qp", "0")
    monkeypatch.delitem(video_plan.H264.options, "crf")
    monkeypatch.setitem(
        video_plan.HEVC.options, "x265-params", "lossless=1:log-level=none"
    )


def scaling(factor):
    """A Keras model that multiplies."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Rescaling(factor)(inputs))


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
    """If none is given, as those of pictures."""
    target = tmp_path / "out.mp4"
    assert deblur_video(clip, target, Deblurrer(identity, tile=32)) == []
    assert len(read_frames(target)) == 5


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_times_of_a_variable_frame_rate(tmp_path, photo, suffix):
    """Late start included; in Matroska and WebM to the millisecond."""
    times = [90 * round(t / 90) + 126000 for t in VARIABLE]
    times[5] += 90  # no two in one millisecond
    clip = write_clip(tmp_path / "a.mov", moving(photo, 10), times=times)
    target = tmp_path / f"b{suffix}"
    deblur_video(clip, target, darker)
    before, after = read_frames(clip), read_frames(target)
    assert seconds(before) == [Fraction(t, 90000) for t in times]
    assert seconds(after) == seconds(before)


def test_orientation_shape_and_meaning_of_colors(tmp_path, photo):
    colors = {
        "color_range": 2,
        "colorspace": 9,
        "color_primaries": 9,
        "color_trc": 13,
    }
    clip = write_clip(
        tmp_path / "a.mp4",
        moving(photo, 2),
        rotation=90,
        sample_aspect_ratio=Fraction(4, 3),
        **colors,
    )
    for suffix in (".mov", ".mkv", ".webm"):
        target = tmp_path / f"b{suffix}"
        notes = deblur_video(clip, target, darker)
        for path in (clip, target):
            frame = read_frames(path)[0]
            assert frame.rotation == 90
            assert {name: getattr(frame, name) for name in colors} == colors
            with av.open(path) as container:
                context = container.streams.video[0].codec_context
                assert {
                    name: getattr(context, name) for name in colors
                } == colors
        with av.open(target) as container:
            shape = container.streams.video[0].sample_aspect_ratio
        if suffix == ".webm":
            assert "square pixels" in notes[0]
        else:
            assert notes == []
            assert shape == Fraction(4, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("color_range", [1, 2])
def test_the_range_alone_is_named(
    tmp_path, photo, suffix, pix_fmt, color_range
):
    """Of colors of which the file says nothing else."""
    clip = write_clip(
        tmp_path / "a.mkv",
        moving(photo, 2),
        "ffv1",
        pix_fmt,
        options=(),
        color_range=color_range,
    )
    target = tmp_path / f"b{suffix}"
    assert deblur_video(clip, target, identity) == []
    for path in (clip, target):
        assert {f.color_range for f in read_frames(path)} == {color_range}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_colors_are_those_of_the_stream(
    tmp_path, rng, lossless, matrix, full, pix_fmt
):
    """The network sees what H.273 says, and what it answers is written so."""
    bits = 10 if "10" in pix_fmt else 8
    colors = rng.uniform(0.1, 0.9, (3, 4, 3))
    picture = np.kron(colors, np.ones((16, 16, 1)))
    codes = h273_encode(picture, matrix, full, bits)
    frame = av.VideoFrame(64, 48, pix_fmt)
    for i, plane in enumerate(frame.planes):
        data = codes[..., i] if i == 0 else codes[::2, ::2, i]
        data = data.astype(np.uint16 if bits > 8 else np.uint8)
        np.frombuffer(plane, data.dtype).reshape(plane.height, -1)[
            :, : plane.width
        ] = data
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream(
            "ffv1", 25, color_range=1 + full, colorspace=matrix
        )
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    seen = []

    def invert(batch):
        seen.append(np.array(batch[0]))
        return 1 - batch

    deblur_video(path, tmp_path / "b.mkv", invert)
    np.testing.assert_allclose(seen[0][8::16, 8::16], colors, atol=2 / 2**bits)
    [after] = read_frames(tmp_path / "b.mkv")
    expected = h273_encode(1 - colors, matrix, full, bits)
    for i, plane in enumerate(planes(after)):
        middle = plane[8::16, 8::16] if i == 0 else plane[4::8, 4::8]
        np.testing.assert_allclose(middle, expected[..., i], atol=1)


def h273_encode(rgb, matrix, full, bits):
    """Y, Cb, Cr of ITU-T H.273, equations 24 to 40, in float64."""
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[
        matrix
    ]
    red, green, blue = np.moveaxis(rgb, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    if full:
        top = 2**bits - 1
        values = [luma * top, *(c * top + 2 ** (bits - 1) for c in chroma)]
    else:
        step = 2 ** (bits - 8)
        values = [
            (219 * luma + 16) * step,
            *((224 * c + 128) * step for c in chroma),
        ]
    return np.rint(np.stack(values, axis=-1))


def test_numbers_beyond_white_are_kept(tmp_path, lossless):
    """Cameras use the headroom above 235, which RGB cannot hold."""
    path = tmp_path / "a.mkv"
    ramp = np.arange(256, dtype=np.uint8).repeat(2).reshape(8, 64)
    frame = av.VideoFrame.from_ndarray(
        np.vstack([ramp, np.full((4, 64), 128, np.uint8)]), "yuv420p"
    )
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 8, "yuv420p"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    deblur_video(path, tmp_path / "b.mkv", identity)
    [after] = read_frames(tmp_path / "b.mkv")
    np.testing.assert_array_equal(planes(after)[0], ramp)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "expected", "noted"),
    [
        ("libx264", "yuv420p", ".mp4", ("h264", "yuv420p"), None),
        ("libx264", "yuv420p10le", ".mp4", ("hevc", "yuv420p10le"), None),
        ("libx264", "yuv420p10le", ".webm", ("av1", "yuv420p10le"), None),
        ("libx264", "yuv420p", ".webm", ("vp9", "yuv420p"), None),
        ("mjpeg", "yuvj422p", ".mp4", ("h264", "yuvj420p"), "yuvj422p"),
        ("prores_ks", "yuv422p10le", ".mkv", ("hevc", "yuv420p10le"), "422"),
        ("libx264rgb", "rgb24", ".mp4", ("h264", "yuv420p"), "gbrp"),
        ("ffv1", "bgr0", ".mp4", ("h264", "yuv420p"), "bgr0"),
        ("ffv1", "yuva420p", ".mp4", ("h264", "yuv420p"), "yuva420p"),
        ("ffv1", "gray", ".mp4", ("h264", "yuvj420p"), "gray"),
    ],
)
def test_formats(
    tmp_path, photo, capfd, codec, pix_fmt, suffix, expected, noted
):
    clip = write_clip(
        tmp_path / "a.mkv", moving(photo, 2), codec, pix_fmt, options=()
    )
    target = tmp_path / f"b{suffix}"
    notes = deblur_video(clip, target, identity)
    assert capfd.readouterr() == ("", "")
    assert len(notes) == (noted is not None)
    assert not noted or noted in notes[0]
    with av.open(target) as container:
        context = container.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt) == expected
    for old, new in zip(read_frames(clip), read_frames(target), strict=True):
        error = exact_rgb(new) - exact_rgb(old)
        assert np.abs(error.mean(axis=(0, 1))).max() < 1
        assert np.abs(error).mean() < 4


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_odd_sizes(tmp_path, photo, suffix):
    """H.264 and HEVC need even sides, VP9 does not."""
    pictures = moving(photo, 2, (63, 47))
    clip = write_clip(tmp_path / "a.mkv", pictures, "ffv1", options=())
    target = tmp_path / f"b{suffix}"
    notes = deblur_video(clip, target, identity)
    for before, after in zip(
        read_frames(clip), read_frames(target), strict=True
    ):
        assert (after.width, after.height) == (
            (64, 48) if suffix == ".mp4" else (63, 47)
        )
        for old, new in zip(planes(before), planes(after), strict=True):
            old = np.pad(
                old,
                [(0, n - o) for n, o in zip(new.shape, old.shape, strict=True)],
                "edge",
            )
            assert np.abs(old - new).mean() < 2.5
            assert abs((old - new)[-1].mean()) < 2.5
    assert notes == [] or ("63x47" in notes[0] and "64x48" in notes[0])


def test_other_streams_chapters_and_tags(tmp_path, photo):
    path = tmp_path / "a.mkv"
    frames = moving(photo, 30)
    subtitle = b"Deblurred"

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


def same_frames(first, second):
    for old, new in zip(read_frames(first), read_frames(second), strict=True):
        for a, b in zip(planes(old), planes(new), strict=True):
            np.testing.assert_array_equal(a, b)


def test_frames_are_the_same_in_each_run(tmp_path, photo, monkeypatch):
    """And on each processor: x264 by its C code alone is the reference.

    What depends on the processor's instructions depends on the run, too, with
    some of them.
    """
    clip = write_clip(tmp_path / "a.mkv", moving(photo, 40, (160, 128)))
    deblur_video(clip, tmp_path / "b.mp4", identity)
    options = video_plan.H264.options
    text = f"{options['x264-params']}:asm=0"
    monkeypatch.setitem(options, "x264-params", text)
    deblur_video(clip, tmp_path / "c.mp4", identity)
    same_frames(tmp_path / "b.mp4", tmp_path / "c.mp4")


@pytest.mark.slow
def test_an_inference_form_goes_on(clip, tmp_path, monkeypatch, tiny_radn):
    """It is made anew for each run, as by the command; known by its answers."""
    monkeypatch.setattr(video, "PART_FRAMES", 2)
    model = tiny_radn()

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    def parts_kept(form, target):
        """Whether the first part is still there at the first frame."""
        seen = []
        part = tmp_path / f".{target.name}.parts/000000.nut"
        deblur_video(
            clip, target, form, progress=lambda *_: seen.append(part.exists())
        )
        return seen[0]

    for name, expected in (("same", True), ("other", False)):
        target = tmp_path / f"{name}.mp4"
        with pytest.raises(KeyboardInterrupt):
            deblur_video(
                clip, target, inference_model(model), progress=interrupt
            )
        if name == "other":
            bias = model.get_layer("reconstruction").bias
            bias.assign(bias + 1e-3)
        assert parts_kept(inference_model(model), target) == expected


def test_goes_on_where_it_was_interrupted(
    clip, tmp_path, monkeypatch, lossless
):
    monkeypatch.setattr(video, "PART_FRAMES", 2)
    model, calls = scaling(0.5), []

    def counting(*arguments):
        calls.append(1)
        return deblur_frame(*arguments)

    deblur_frame = Deblurrer.__call__
    monkeypatch.setattr(Deblurrer, "__call__", counting)
    whole, target = tmp_path / "whole.mp4", tmp_path / "b.mp4"
    deblur_video(clip, whole, model)
    assert len(calls) == 5

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    def interrupted(*arguments, **named):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            deblur_video(*arguments, progress=interrupt, **named)

    interrupted(clip, target, model)
    assert not target.exists()
    parts = tmp_path / ".b.mp4.parts"
    assert {p.name for p in parts.iterdir()} == {"settings.json", "000000.nut"}
    calls.clear()
    deblur_video(clip, target, model)
    assert len(calls) == 3
    for kind in ("video", "audio"):
        times = [
            [time for time, _ in packets(path, kind)]
            for path in (target, whole)
        ]
        assert times[0] == times[1]
    same_frames(whole, target)
    assert not parts.exists()

    # Another network, or other arguments: from the start.
    interrupted(clip, target, model, force=True)
    calls.clear()
    deblur_video(clip, target, scaling(0.25), force=True)
    assert len(calls) == 5
    interrupted(clip, target, model, force=True)
    calls.clear()
    deblur_video(clip, target, Deblurrer(model, tile=64, overlap=0), force=True)
    assert len(calls) == 5
    interrupted(clip, target, model, force=True)
    calls.clear()
    deblur_video(clip, target, Deblurrer(model, multi_scale=True), force=True)
    assert len(calls) == 5


def test_decode_times(rng):
    """Groups of pictures as encoders order them, at irregular times."""
    shown = np.cumsum(rng.integers(1, 5000, 40)).tolist()
    order = [*(0, 4, 2, 1, 3), *(5, 9, 7, 6, 8), *(10, 13, 12, 11)]
    times = [shown[i] for i in order]
    decoded = decode_times(times)
    assert all(a < b for a, b in itertools.pairwise(decoded))
    assert all(d <= t for d, t in zip(decoded, times, strict=True))
    assert decode_times(shown) == shown
    assert decode_times([7]) == [7]


def test_parts_make_one_stream(clip, tmp_path, monkeypatch):
    """Each part with B-frames of its own, at a variable frame rate."""
    monkeypatch.setattr(video, "PART_FRAMES", 8)
    photo = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    pictures = [np.roll(photo, i // 3, axis=1) for i in range(20)]
    steps = np.tile([100, 9000, 3000, 1], 5)
    times = (np.cumsum(steps) - 100).tolist()
    path = write_clip(tmp_path / "a.mp4", pictures, times=times)
    target = tmp_path / "b.mp4"
    deblur_video(path, target, identity)
    assert seconds(read_frames(target)) == [Fraction(t, 90000) for t in times]
    with av.open(target) as container:
        decoded = [p.dts for p in container.demux(video=0) if p.size]
        assert all(a < b for a, b in itertools.pairwise(decoded))


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
