"""Writes and reads short videos."""

from fractions import Fraction

import av
import numpy as np


def identity(batch):
    return batch


def darker(batch):
    return batch * 0.5


def moving(photo, count, size=(64, 48)):
    """Returns frames of a window that moves over a photograph."""
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
    """Writes a video without loss from RGB pictures."""
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
    """Returns the times in seconds and contents of a stream's packets."""
    with av.open(path) as container:
        [stream] = getattr(container.streams, kind)
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]


def same_frames(first, second):
    for old, new in zip(read_frames(first), read_frames(second), strict=True):
        for a, b in zip(planes(old), planes(new), strict=True):
            np.testing.assert_array_equal(a, b)
