"""Opening videos; PyAV is an optional dependency."""

import contextlib
import os
from collections.abc import Iterator

# What is taken for a video; FFmpeg reads more.
SUFFIXES = frozenset(
    (
        *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
    )
)
# Those of them that can be written.
OUTPUT_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")


def import_av():
    """The module `av`.

    Raises:
        ImportError: if PyAV is not installed; says how to.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Videos need PyAV: pip install 'keras-radn[video]'."
        ) from error
    return av


@contextlib.contextmanager
def open_video(path: str | os.PathLike) -> Iterator[tuple]:
    """Opens a video whose damaged frames are errors.

    A Matroska or WebM file that was cut short reads as a shorter video.

    Args:
        path: the file.

    Yields:
        The container, an `av.container.InputContainer`, and its first video
        stream that is not a cover picture. Errors of FFmpeg in the block are
        taken for errors of this file.

    Raises:
        ImportError: if PyAV is not installed.
        ValueError: if the file is not a readable video or is damaged.
    """
    av = import_av()
    try:
        # Names and titles may be in any encoding.
        with av.open(path, metadata_errors="replace") as container:
            pictures = av.stream.Disposition.attached_pic
            streams = [
                stream
                for stream in container.streams.video
                if not stream.disposition & pictures
            ]
            if not streams:
                raise ValueError(
                    f"{path} is not a readable video (there are no moving "
                    "pictures in it); replace or remove it."
                )
            stream = streams[0]
            # Otherwise damaged frames are patched up from others.
            stream.codec_context.options = {"err_detect": "explode"}
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(
            f"{path} is not a readable video ({error.strerror}); replace or "
            "remove it."
        ) from error
