"""How a video is written: its streams, encoders and tags."""

import os
import re
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version

import numpy as np

from keras_radn.inference.video.frames import LIMITED, FrameEditor
from keras_radn.pictures.videos import open_video


@dataclass(frozen=True)
class Encoder:
    name: str
    options: dict[str, str]
    even_sizes: bool = True


# Constant qualities at which no loss is seen; x265's scale is about two
# above x264's. One thread, which saves memory: next to the network's the time
# does not count. Without `cpu-independent`, what x264 writes on processors with
# AVX-512 differs now and then from one run to the next.
H264 = Encoder(
    "libx264",
    {"crf": "18", "threads": "1", "x264-params": "cpu-independent=1"},
)
HEVC = Encoder(
    "libx265",
    {"crf": "20", "x265-params": "log-level=none:pools=none:frame-threads=1"},
)
VP9 = Encoder(
    "libvpx-vp9",
    {"crf": "24", "b": "0", "cpu-used": "3", "threads": "1"},
    even_sizes=False,
)
AV1 = Encoder("libsvtav1", {"crf": "24", "preset": "6"})

# FFmpeg's name of the format, encoders of 8 and of 10 bits.
_FORMATS = {
    ".mp4": ("mp4", H264, HEVC),
    ".m4v": ("mp4", H264, HEVC),
    ".mov": ("mov", H264, HEVC),
    ".mkv": ("matroska", H264, HEVC),
    ".webm": ("webm", VP9, AV1),
}

# Tags that FFmpeg writes itself, and statistics of what was encoded before.
_OWN_TAGS = re.compile(
    "(major_brand|minor_version|compatible_brands|encoder|duration"
    "|(_statistics_|bps|number_of_).*)$"
)


class Plan:
    """What is written how: found out from the first frame and the streams.

    Args:
        av: the module.
        source: path of a video.
        target: path of the result; its suffix chooses the format.

    Attributes:
        editor: the `FrameEditor` of the frames.
        encoder: the `Encoder`.
        format: of the container, FFmpeg's name.
        kind: of the frames; see `describe`.
        size: width and height of the frames.
        out_size: of the encoded frames.
        time_base: unit of the frames' times in seconds.
        rate: mean frames per second.
        frames: how many, an estimate; 0 if the file does not say.
        notes: sentences on what is not as in the source.

    Raises:
        ImportError: if PyAV is not installed.
        ValueError: if the source is not a video, or the target cannot hold what
            is copied.
    """

    def __init__(self, av, source, target):
        self.av, self.source, self.target = av, source, target
        self.format, *encoders = _FORMATS[target.suffix.lower()]
        with open_video(source) as (container, stream):
            frame = next(container.decode(stream), None)
            if frame is None:
                raise ValueError(f"{source} is a video without a frame.")
            try:
                self.editor = FrameEditor(av, frame)
            except ValueError as error:
                raise ValueError(f"{source} {error}") from None
            self.encoder = encoders[self.editor.coding.bits > 8]
            self.kind = describe(frame)
            self.size = self.out_size = frame.width, frame.height
            if self.encoder.even_sizes:
                self.out_size = tuple(side + side % 2 for side in self.size)
            self.time_base = stream.time_base
            self.rate = stream.average_rate or stream.guessed_rate or 30
            self.frames = stream.frames or _estimated_frames(container, stream)
            self._colors = {
                "color_range": self.editor.color_range,
                "colorspace": self.editor.colorspace,
                "color_primaries": frame.color_primaries,
                "color_trc": frame.color_trc,
                "sample_aspect_ratio": stream.sample_aspect_ratio or 1,
            }
            self._display_matrix = _display_matrix(av, frame)
            self._tagged = any(k.startswith("com.") for k in container.metadata)
            self._check_encoder()
            self._check_streams(container, stream)
            self.notes = self._differences(container, stream, frame)

    @property
    def options(self):
        """Options of the container that is written."""
        if self.format not in ("mp4", "mov"):
            return {}
        # Tags of telephones need the other of the two ways to store tags.
        kind = "+use_metadata_tags" if self._tagged else ""
        return {
            "movflags": f"+faststart{kind}",
            # Otherwise the start is rounded to milliseconds.
            "movie_timescale": str(self.time_base.denominator),
        }

    def settings(self):
        """What the encoded frames depend on, as JSON."""
        stat = self.source.stat()
        return {
            "version": version("keras-radn"),
            "source": str(self.source.resolve()),
            "bytes": stat.st_size,
            "modified": stat.st_mtime_ns,
            "encoder": asdict(self.encoder),
        }

    def set_colors(self, stream):
        """Sets how numbers stand for colors, and the shape of pixels."""
        for name, value in self._colors.items():
            setattr(stream.codec_context, name, value)

    def video_filter(self, encoded, video):
        """The filter through which packets of an encoded stream are written.

        x264 does not write that the range is limited unless other colors are
        named, too; in Matroska the container says it.
        """
        if self.encoder is not H264 or self.editor.color_range != LIMITED:
            return lambda packet: [packet]
        tag = video.codec_context.codec_tag
        through = self.av.bitstream.BitStreamFilterContext(
            "h264_metadata=video_full_range_flag=0", encoded, video
        )
        video.codec_context.codec_tag = tag  # not that of the encoded parts
        return through.filter

    def describe_video(self, video, source_stream):
        """Writes what the packets alone do not say."""
        self.set_colors(video)
        video.codec_context.framerate = self.rate
        if self.encoder is HEVC and self.format in ("mp4", "mov"):
            video.codec_context.codec_tag = "hvc1"  # QuickTime wants it
        video.set_display_matrix(self._display_matrix)
        _describe(video, source_stream)

    def copied(self, container, stream):
        """The streams that are copied as they are."""
        kinds = ("audio", "subtitle", "attachment")
        cover = self.av.stream.Disposition.attached_pic
        return [
            other
            for other in container.streams
            if other is not stream
            and (other.type in kinds or other.disposition & cover)
        ]

    def _check_encoder(self):
        if self.encoder is AV1:  # it writes to stderr by itself
            os.environ.setdefault("SVT_LOG", "1")
        try:
            self.av.Codec(self.encoder.name, "w")
        except self.av.codec.codec.UnknownCodecError:
            raise ValueError(
                f"{self.target}: this PyAV has no encoder {self.encoder.name}; "
                "choose another suffix, or install the wheel: pip install "
                "--force-reinstall --only-binary av av."
            ) from None

    def _check_streams(self, container, stream):
        """Refuses streams that are to be copied and the target cannot hold."""
        with self.av.open(os.devnull, "w", format=self.format) as probe:
            for other in self.copied(container, stream):
                add_copy(probe, other, self)

    def _differences(self, container, stream, frame):
        copied = self.copied(container, stream)
        notes = [
            f"Stream {other.index} ({other.type}) is not copied."
            for other in container.streams
            if other is not stream and other not in copied
        ]
        name = frame.format.name
        if name.replace("yuvj", "yuv") != self.editor.format:
            notes.append(
                f"The pixel format {name} becomes {self.editor.format}."
            )
        if self.out_size != self.size:
            notes.append(
                "The size {}x{} becomes {}x{}, as the encoder needs even "
                "sides; the last row or column is repeated.".format(
                    *self.size, *self.out_size
                )
            )
        # PyAV cannot set it for Matroska, and VP9 and AV1 do not hold it.
        shape = self._colors["sample_aspect_ratio"]
        if self.format == "webm" and shape != 1:
            notes.append(
                f"WebM is written with square pixels; those of {self.source} "
                f"are {shape} times as wide as high."
            )
        return notes


def add_copy(container, stream, plan: Plan):
    """A stream of the output like one of the input."""
    try:
        copy = container.add_stream_from_template(stream, opaque=True)
    except ValueError:
        raise ValueError(
            f"{plan.source}: its {stream.type} stream {stream.index} "
            f"({stream.name}) cannot be stored in a {plan.target.suffix} file; "
            f"choose another suffix for {plan.target}, such as .mkv or that "
            "of the source."
        ) from None
    _describe(copy, stream)
    return copy


def _describe(copy, stream):
    copy.metadata.clear()
    copy.metadata.update(tags(stream.metadata))
    copy.disposition = stream.disposition


def describe(frame) -> str:
    """Size and pixel format of a frame, which must be those of all."""
    return f"{frame.width}x{frame.height} {frame.format.name}"


def tags(metadata: dict[str, str]) -> dict[str, str]:
    """What is copied of the tags of a file or stream."""
    return {
        key: value
        for key, value in metadata.items()
        if not _OWN_TAGS.match(key.lower())
    }


def _display_matrix(av, frame):
    """Nine numbers that say how the frame is turned for display, or None."""
    kind = av.sidedata.sidedata.Type.DISPLAYMATRIX
    data = frame.side_data.get(kind)
    return None if data is None else np.frombuffer(data, np.int32).tolist()


def _estimated_frames(container, stream):
    if stream.duration:
        seconds = stream.duration * stream.time_base
    elif container.duration:
        seconds = Fraction(container.duration, 1_000_000)
    else:
        return 0
    return round(seconds * stream.average_rate) if stream.average_rate else 0
