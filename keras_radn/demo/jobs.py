"""One picture at a time, a few that wait, and the results of the last ones."""

import itertools
import secrets
import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_radn.pictures.picture import Picture


class BusyError(Exception):
    """No other picture can wait: the queue is full."""


class CancelledError(Exception):
    """Whoever asked for the picture does not want it any more."""


@dataclass(eq=False)  # arrays have no plain equality
class Job:
    """A picture and what has become of it so far.

    Attributes:
        picture: what was sent.
        name: of its file.
        ensemble: whether it is seen in all 8 orientations.
        multi_scale: whether it is seen at 4 scales.
        folder: where the results are written.
        id: which nobody can guess.
        state: `"queued"`, `"deblurring"`, `"inspecting"` (the deblurred
            picture is there, the maps are not), `"done"`, `"failed"` or
            `"cancelled"`.
        progress: runs of the network: how many of how many.
        error: why it failed, a sentence.
        maps: of each map in the folder, its legend, by its name.
    """

    picture: Picture | None
    name: str
    ensemble: bool
    multi_scale: bool
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "queued"
    progress: tuple[int, int] = (0, 1)
    error: str | None = None
    maps: dict[str, Any] = field(default_factory=dict)
    cancelled: bool = False

    def report_progress(self, done: int, total: int) -> None:
        """Notes how far the job is, or interrupts one that was cancelled.

        Raises:
            CancelledError: if it is not wanted any more.
        """
        self.progress = (done, total)
        if self.cancelled:
            raise CancelledError


class JobQueue:
    """Runs jobs one after the other, in a thread of its own.

    Args:
        work: called with a job.
        folder: where the jobs get their folders.
        waiting: jobs that may wait.
        kept: finished jobs whose results are kept.
    """

    def __init__(
        self,
        work: Callable[[Job], None],
        folder: Path,
        waiting: int = 4,
        kept: int = 8,
    ):
        self._work = work
        self._folder = folder
        self._kept = kept
        self._most_waiting = waiting
        self._waiting: deque[Job] = deque()
        self._numbers = itertools.count()
        self._jobs: dict[str, Job] = {}  # in the order of their arrival
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="deblur")
        self._closing = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Gives up what waits, and waits for what runs."""
        with self._changed:
            self._closing = True
            for job in list(self._jobs.values()):
                self.cancel(job)
            self._changed.notify()
        self._thread.join()

    def require_place(self) -> None:
        """Refuses another job if the queue is full.

        Raises:
            BusyError: if it is.
        """
        if len(self._waiting) >= self._most_waiting:
            raise BusyError

    def submit(
        self,
        picture: Picture,
        name: str,
        ensemble: bool = False,
        multi_scale: bool = False,
    ) -> Job:
        """Adds a job.

        Raises:
            BusyError: if there is no place for it.
        """
        folder = self._folder / str(next(self._numbers))
        job = Job(picture, name, ensemble, multi_scale, folder)
        with self._changed:
            self.require_place()
            self._waiting.append(job)
            self._jobs[job.id] = job
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Cancels a job: at once if it waits, soon if it runs."""
        with self._changed:
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = "cancelled"
                job.picture = None
                self._forget()

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def ahead_of(self, job: Job) -> int:
        """How many jobs come before it."""
        with self._changed:
            earlier = itertools.takewhile(
                lambda other: other is not job, self._jobs.values()
            )
            return sum(not _is_over(other) for other in earlier)

    def _run(self):
        while (job := self._next()) is not None:
            try:
                job.report_progress(0, 1)
                job.folder.mkdir()
                self._work(job)
                job.state = "done"
            except CancelledError:
                job.state = "cancelled"
            # The next picture may be a better one.
            except Exception as error:
                job.error = _sentence(error)
                job.state = "failed"
            job.picture = None
            self._forget()

    def _next(self):
        """The job that has waited longest; `None` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return None if self._closing else self._waiting.popleft()

    def _forget(self):
        """Deletes the results of all but the last ones."""
        with self._changed:
            over = [job for job in self._jobs.values() if _is_over(job)]
            for job in over[: -self._kept]:
                del self._jobs[job.id]
                shutil.rmtree(job.folder, ignore_errors=True)


def _is_over(job):
    return job.state in ("done", "failed", "cancelled")


def _sentence(error):
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError) and text:
        return text
    if isinstance(error, MemoryError):
        return "There is not enough memory for this picture; try a smaller one."
    return f"Unexpected {type(error).__name__}: {text}"
