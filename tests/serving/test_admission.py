"""How a computation blocks the worker that it runs in."""

import asyncio
import concurrent.futures
import threading
import time

import pytest

from keras_radn.serving import admission
from keras_radn.serving.admission import Admission
from keras_radn.serving.errors import ServingError


def soon():
    return time.monotonic() + 2


def raising(error):
    def compute():
        raise error

    return compute


@pytest.mark.parametrize(
    "error",
    [
        StopIteration(),
        concurrent.futures.CancelledError(),
        asyncio.CancelledError(),
        GeneratorExit(),
        KeyboardInterrupt(),
        SystemExit(),
        ValueError("for example"),
        ServingError(admission.StatusCode.NOT_FOUND, "for example"),
    ],
    ids=repr,
)
def test_the_place_is_given_back(error):
    async def check():
        workers = Admission(1, 0)
        for _ in range(3):
            with pytest.raises((RuntimeError, type(error))) as caught:
                await workers.run(raising(error), soon())
            assert isinstance(caught.value, Exception)
        assert await workers.run(lambda: "next", soon()) == "next"
        workers.close()

    asyncio.run(check())


def test_a_worker_that_does_not_answer(monkeypatch):
    """It counts as lost from the deadline until it answers again."""
    monkeypatch.setattr(admission, "_GRACE", 0.1)
    go_on = threading.Event()

    async def check():
        workers = Admission(2, 0)
        for _ in range(2):
            assert workers.overdue() == 0
            with pytest.raises(ServingError, match="too long"):
                await workers.run(go_on.wait, time.monotonic() + 0.1)
        await asyncio.sleep(0.3)
        assert 0 < workers.overdue() < 2
        with pytest.raises(ServingError, match="in the queue"):
            await workers.run(lambda: None, time.monotonic() + 0.1)
        go_on.set()
        assert await workers.run(lambda: "next", soon()) == "next"
        assert workers.overdue() == 0
        workers.close()

    asyncio.run(check())


def test_a_client_that_leaves():
    """Its place becomes free only when the worker is done."""
    go_on = threading.Event()

    async def check():
        workers = Admission(1, 0)
        gone = asyncio.create_task(workers.run(go_on.wait, soon()))
        await asyncio.sleep(0.1)
        gone.cancel()
        with pytest.raises(ServingError, match="in the queue"):
            await workers.run(lambda: None, time.monotonic() + 0.1)
        go_on.set()
        assert await workers.run(lambda: "next", soon()) == "next"
        workers.close()

    asyncio.run(check())
