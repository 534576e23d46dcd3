"""Patches drawn by processes, where there is no `tf.data`."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np

from keras_radn.datasets.draws import GROUP, Draws
from keras_radn.datasets.opencv import cv2
from keras_radn.datasets.patches import orient
from keras_radn.system.cores import available_cores
from keras_radn.system.memory import available_bytes

# Bytes that a process keeps of the latest images and the moments of videos.
_MEMORY = 3 * 2**30
# Patches that a process draws at a time, to send few messages.
_CHUNK = 8
# Batches that are being drawn while others are used, and those made of them.
_AHEAD, _READY = 40, 3


class _Block(NamedTuple):
    """What is drawn together: a batch, or 32 in several orientations."""

    stream: int
    drawn: range
    batches: Callable[[list], Iterator[list]]  # from what was drawn
    count: int


class PatchWorkers:
    """Processes that draw the patches of several streams.

    A context. The processes are spawned: a script that trains needs
    `if __name__ == "__main__"`.

    Args:
        streams: of which patches will be asked.
        count: how many processes; `None` for one on each core, as far as the
            memory goes.
    """

    def __init__(self, streams: Sequence[Draws], count: int | None = None):
        self.streams = list(streams)
        self._pool = ProcessPoolExecutor(
            count
            or min(
                len(available_cores()), max(1, available_bytes() // _MEMORY)
            ),
            multiprocessing.get_context("spawn"),
            _start,
            (self.streams,),
        )
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> "PatchWorkers":
        return self

    def __exit__(self, *exception):
        # Which also ends what the thread may wait for.
        self._pool.shutdown(cancel_futures=True)
        self._thread.shutdown(cancel_futures=True)

    def batches(
        self, parts: Iterable[tuple[int, int, int]]
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches of some parts of the streams, one after the other.

        Args:
            parts: for each part the number of its stream, its first batch and
                the one after its last.

        Yields:
            What `keras_radn.datasets.patch_dataset` gives, as arrays, and with
            the same values.

        Raises:
            ChildProcessError: if a process was killed.
            ValueError: if a file is unreadable or too small.
        """
        batches = self._batches(parts)
        ready = deque()
        while True:
            while len(ready) < _READY:
                ready.append(self._thread.submit(next, batches, None))
            batch = ready.popleft().result()
            if batch is None:
                return
            yield batch

    def _batches(self, parts):
        waiting: deque[tuple[_Block, list[Future]]] = deque()
        blocks = itertools.chain.from_iterable(
            self._blocks(*part) for part in parts
        )
        try:
            for block in blocks:
                waiting.append((block, self._drawn(block)))
                while sum(block.count for block, _ in waiting) > _AHEAD:
                    yield from self._finished(*waiting.popleft())
            while waiting:
                yield from self._finished(*waiting.popleft())
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "A process that draws patches was killed, perhaps for want of "
                "memory. The same call goes on from the last checkpoint."
            ) from error

    def _blocks(self, stream, first, end):
        draws = self.streams[stream]
        size = draws.batch_size
        if draws.repeats == 1:
            for batch in range(first, end):
                drawn = range(batch * size, (batch + 1) * size)
                yield _Block(stream, drawn, lambda pairs: iter([pairs]), 1)
            return
        count = draws.draws_of_group(size)
        for group in range(first // GROUP, -(-end // GROUP)):

            def arranged(pairs, group=group):
                places = list(zip(*draws.arrangement(group, size), strict=True))
                for batch in range(GROUP):
                    if first <= group * GROUP + batch < end:
                        yield [
                            orient(pairs[place], turn)
                            for place, turn in places[
                                batch * size : (batch + 1) * size
                            ]
                        ]

            drawn = range(group * count, (group + 1) * count)
            yield _Block(stream, drawn, arranged, GROUP)

    def _drawn(self, block):
        return [
            self._pool.submit(_draw, block.stream, block.drawn[i : i + _CHUNK])
            for i in range(0, len(block.drawn), _CHUNK)
        ]

    def _finished(self, block, futures):
        pairs = [pair for future in futures for pair in future.result()]
        balance = self.streams[block.stream].balance
        for batch in block.batches(pairs):
            yield _as_floats(np.stack(batch, axis=1), balance)


def _as_floats(pairs, balance):
    blurred, sharp = np.divide(pairs, np.float32(255), dtype=np.float32)
    if not balance:
        return blurred, sharp
    error = np.square(blurred - sharp).mean(axis=(1, 2, 3), dtype=np.float32)
    weights = np.float32(balance) / (np.float32(balance) + error)
    return blurred, sharp, weights.reshape(-1, 1, 1)


def _start(streams):
    """The beginning of a process."""
    global _streams
    _streams = streams
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    # One that was killed ends nothing.
    multiprocessing.parent_process().join()
    os._exit(1)


def _draw(stream, indices):
    draws = _streams[stream]
    return [draws.draw(index) for index in indices]
