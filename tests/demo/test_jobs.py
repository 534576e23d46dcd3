import threading

import numpy as np
import pytest

from keras_radn.demo.jobs import BusyError, JobQueue
from keras_radn.pictures.picture import Picture

PICTURE = Picture(np.zeros((2, 2, 3), np.uint8))


class Gate:
    """Work that blocks until the test lets it continue."""

    def __init__(self):
        self.running = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.order = []

    def __call__(self, job):
        self.running.release()
        assert self.open.acquire(timeout=60)
        job.report_progress(1, 2)
        self.order.append(job.name)
        if job.name == "bad":
            raise ValueError("It is bad.")
        (job.folder / "deblurred.png").touch()


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def jobs(gate, tmp_path):
    jobs = JobQueue(gate, tmp_path, waiting=2, kept=2)
    jobs.start()
    yield jobs
    gate.open.release(10)
    jobs.close()


def submit(jobs, name):
    return jobs.submit(PICTURE, name)


def wait_for(job, state):
    for _ in range(1000):
        if job.state == state:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{job.name} is {job.state}, not {state}.")


def test_one_at_a_time_and_a_bounded_number_waits(jobs, gate):
    first = submit(jobs, "first")
    assert gate.running.acquire(timeout=60)
    second, third = submit(jobs, "second"), submit(jobs, "third")
    assert [jobs.ahead_of(job) for job in (first, second, third)] == [0, 1, 2]
    with pytest.raises(BusyError):
        jobs.require_place()
    with pytest.raises(BusyError):
        submit(jobs, "fourth")
    assert not gate.running.acquire(timeout=0.05)
    gate.open.release(3)
    wait_for(third, "done")
    assert gate.order == ["first", "second", "third"]


def test_only_the_last_results_are_kept(jobs, gate):
    gate.open.release(4)
    done = []
    for name in "abcd":
        done.append(submit(jobs, name))
        wait_for(done[-1], "done")
    later = submit(jobs, "e")  # when it runs, all before it are forgotten
    assert gate.running.acquire(timeout=60)
    assert [jobs.get(job.id) is not None for job in (*done, later)] == [
        *(False, False, True, True),
        True,
    ]
    assert [job.folder.exists() for job in done] == [False, False, True, True]
    assert all(job.picture is None for job in done)


def test_a_failed_or_cancelled_one_does_not_keep_the_next(jobs, gate):
    running = submit(jobs, "running")
    assert gate.running.acquire(timeout=60)
    waiting = submit(jobs, "waiting")
    jobs.cancel(running)
    jobs.cancel(waiting)
    gate.open.release(2)
    wait_for(waiting, "cancelled")
    wait_for(running, "cancelled")
    bad = submit(jobs, "bad")
    wait_for(bad, "failed")
    assert bad.error == "It is bad."
    gate.open.release()
    good = submit(jobs, "good")
    wait_for(good, "done")
    assert gate.order == ["bad", "good"]


def test_a_cancelled_one_gives_up_its_place(jobs, gate):
    running = submit(jobs, "running")
    assert gate.running.acquire(timeout=60)
    first, second = submit(jobs, "first"), submit(jobs, "second")
    jobs.cancel(second)
    assert (second.state, second.picture) == ("cancelled", None)
    assert first.state == "queued"
    third = submit(jobs, "third")
    assert jobs.ahead_of(third) == 2
    gate.open.release(3)
    wait_for(third, "done")
    assert gate.order == [job.name for job in (running, first, third)]


def test_those_given_up_are_forgotten_as_well(jobs, gate):
    submit(jobs, "running")
    assert gate.running.acquire(timeout=60)
    given_up = [submit(jobs, "waiting")]
    for _ in range(3):
        jobs.cancel(given_up[-1])
        given_up.append(submit(jobs, "waiting"))
    kept = [jobs.get(job.id) is not None for job in given_up]
    assert kept == [False, True, True, True]


def test_the_end_gives_up_what_runs_and_what_waits(jobs, gate):
    running, waiting = submit(jobs, "running"), submit(jobs, "waiting")
    assert gate.running.acquire(timeout=60)
    closing = threading.Thread(target=jobs.close)
    closing.start()
    wait_for(waiting, "cancelled")
    gate.open.release()
    closing.join(60)
    assert running.state == "cancelled"
    assert gate.order == []
