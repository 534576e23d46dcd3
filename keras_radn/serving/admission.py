import asyncio
import concurrent.futures
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from grpc import StatusCode

from keras_radn.serving.errors import ServingError

MAX_RETRY_AFTER = 60  # seconds
# Beyond its deadline a computation ends at the next operation of its graph.
_GRACE = 5  # seconds
_T = TypeVar("_T")


class Admission:
    """Lets in as many requests as can be kept in memory and answered in time.

    A request takes a place before its body is read and leaves it when its
    answer is sent; with all places taken it is turned away at once. So the
    memory of a burst is bounded by the places and the largest body.

    Args:
        workers: how many requests are computed at a time; TensorFlow uses all
            cores for one.
        queue_length: how many more may wait.
    """

    def __init__(self, workers: int, queue_length: int) -> None:
        self.places = workers + queue_length
        self.taken = 0
        self._workers = workers
        self._free = asyncio.Semaphore(workers)
        self._executor = concurrent.futures.ThreadPoolExecutor(
            workers, "predict"
        )
        self._deadlines: dict[object, float] = {}  # of what is computed
        self._mean_seconds = 1.0  # of late

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place for a request.

        Raises:
            ServingError: all are taken (`UNAVAILABLE`, as of a full queue of
                TF-Serving).
        """
        if self.taken >= self.places:
            raise ServingError(
                StatusCode.UNAVAILABLE,
                f"The server is at its limit of {self.places} requests at a "
                "time; try again later.",
                retry_after=self._retry_after(),
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, compute: Callable[[], _T], deadline: float) -> _T:
        """Computes in a worker's thread, in the order of arrival.

        Args:
            compute: what to call; it should give up at the deadline, too, as a
                thread cannot be stopped.
            deadline: on the clock of `time.monotonic`.

        Raises:
            ServingError: it is too late (`DEADLINE_EXCEEDED`).
        """
        remaining = deadline - time.monotonic()
        try:
            async with asyncio.timeout(remaining):
                await self._free.acquire()
        except TimeoutError:
            raise _late("The request waited too long in the queue") from None
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        token = object()
        self._deadlines[token] = deadline

        def finish():
            if self._deadlines.pop(token, None) is None:
                return
            self._free.release()
            seconds = time.monotonic() - started
            self._mean_seconds += 0.2 * (seconds - self._mean_seconds)

        def work():
            # The worker gives its place back itself: the future may have been
            # cancelled, or the exception be one that no future takes.
            try:
                return _call(compute)
            finally:
                loop.call_soon_threadsafe(finish)

        try:
            future = loop.run_in_executor(self._executor, work)
        except RuntimeError:  # there is no thread to be had
            finish()
            raise
        future.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(deadline - started):
                # The thread goes on, and with it the worker is in use, even
                # if nobody waits for it any more.
                return await asyncio.shield(future)
        except TimeoutError:
            raise _late("The request took too long") from None

    def overdue(self) -> float:
        """Seconds since when no worker answers; 0 if one does.

        A worker does not answer if what it computes should have ended some
        seconds ago.
        """
        if len(self._deadlines) < self._workers:
            return 0
        # The last worker to be lost.
        return max(0, time.monotonic() - max(self._deadlines.values()) - _GRACE)

    def close(self) -> None:
        """Waits for what is being computed."""
        self._executor.shutdown()

    def _retry_after(self):
        seconds = self.taken * self._mean_seconds / self._workers
        return min(MAX_RETRY_AFTER, max(1, math.ceil(seconds)))


def _call(compute):
    """Calls a function so that what it raises does not end the event loop."""
    try:
        return compute()
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(
            error, (StopIteration, concurrent.futures.CancelledError)
        ):
            raise
        raise RuntimeError(f"{type(error).__name__} in a worker") from error


def _retrieve(future):
    """Retrieves an exception, which asyncio would report otherwise."""
    if not future.cancelled():
        future.exception()


def _late(what):
    return ServingError(
        StatusCode.DEADLINE_EXCEEDED,
        f"{what}; try again later, or send less at a time.",
    )
