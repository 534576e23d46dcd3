"""The formats, sizes and colors of frames."""

from fractions import Fraction

import av
import numpy as np
import pytest

from keras_radn.inference.video.process import deblur_video
from tests.inference.video.clips import (
    darker,
    exact_rgb,
    identity,
    moving,
    planes,
    read_frames,
    write_clip,
)


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
    """The file says nothing else about its colors."""
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
    """The network sees colors as in H.273, and they are written alike."""
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
    """Computes Y, Cb, Cr by ITU-T H.273, equations 24 to 40, in float64."""
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
