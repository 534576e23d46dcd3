"""Encoded parts of a video, from which it is put together."""

import contextlib
import heapq
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from keras_radn.files import written_beside


class Parts:
    """A folder with the encoded parts of a video that are done.

    NUT keeps times in any time base exactly, which Matroska does not.

    Args:
        folder: made, unless it is there with the same settings.
        settings: all that the frames depend on, as JSON.
    """

    def __init__(self, folder: Path, settings: dict):
        self._folder = folder
        record = folder / "settings.json"
        text = json.dumps(settings, indent=1)
        if not record.exists() or record.read_text() != text:
            self.remove()
            folder.mkdir()
            with written_beside(record) as partial:
                partial.write_text(text)

    def path(self, index: int) -> Path:
        """The file of a part; it exists if the part is done."""
        return self._folder / f"{index:06d}.nut"

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def packets(self, av) -> Iterator:
        """The packets of all parts in the order of decoding."""
        index = 0
        while self.path(index).exists():
            with av.open(self.path(index)) as container:
                stream = container.streams.video[0]
                yield from (p for p in container.demux(stream) if p.size)
            index += 1


@contextlib.contextmanager
def writing(av, target: Path) -> Iterator[None]:
    """Turns errors of FFmpeg into an `OSError` that names the target."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(
            f"{target}: cannot be written: {error.strerror}."
        ) from error


def decode_times(times: list[int]) -> list[int]:
    """When packets are decoded, from when they are shown.

    Parts that were encoded apart have times of decoding that overlap.

    Args:
        times: of presentation, in the order of decoding.

    Returns:
        Strictly increasing times, none later than that of presentation.
    """
    shown = sorted(times)
    rank = {time: i for i, time in enumerate(shown)}
    delay = max(i - rank[time] for i, time in enumerate(times))
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    before = [shown[0] - step * i for i in range(delay, 0, -1)]
    return (before + shown)[: len(times)]


def in_order(*streams: Iterable) -> Iterator:
    """Merges packets by the time at which they are decoded."""
    return heapq.merge(
        *streams,
        key=lambda packet: packet.dts * packet.time_base,
    )
