"""Training in several processes of one machine."""

import multiprocessing
import multiprocessing.connection
import os
import tempfile
import threading
from pathlib import Path

from keras_radn.ops import backend
from keras_radn.system.cores import available_cores, on_cores
from keras_radn.training.config import TrainingConfig
from keras_radn.training.run import train
from keras_radn.training.team import Team

_MEMORY = "/dev/shm"


def train_in_processes(
    config: TrainingConfig, output: str | os.PathLike, workers: int
) -> None:
    """Trains as `train` does, in processes that share the cores of a CPU.

    TensorFlow leaves much of a second core idle in a network of many small
    operations; two processes of one core each are nearly twice as fast. Each
    takes a part of every batch, and every `average_steps` steps their weights
    are averaged.

    Args:
        config: what to train on what.
        output: folder of the run; see `train`.
        workers: number of processes, at most that of the cores.

    Raises:
        ImportError: if Keras runs on another backend, one process of which
            takes all cores.
        ValueError: if there are fewer cores, `workers` does not divide a batch,
            or as `train` does.
        RuntimeError: if a process was killed.
        Exception: what else `train` raises.

    Example:

    ```python
    from keras_radn import training

    config = training.TrainingConfig(gopro="GOPRO_Large")
    if __name__ == "__main__":  # the processes import this file
        training.train_in_processes(config, "run", workers=4)
    ```
    """
    backend.require_tensorflow("Training in several processes")
    cores = available_cores()
    if not 1 <= workers <= len(cores):
        raise ValueError(
            f"`workers` must be from 1 to the number of cores, {len(cores)}. "
            f"Received: {workers}"
        )
    context = multiprocessing.get_context("spawn")
    shared = _MEMORY if os.path.isdir(_MEMORY) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        barrier = context.Barrier(workers)
        processes, pipes = [], []
        for index in range(workers):
            receiver, sender = context.Pipe(duplex=False)
            team = Team(index, workers, barrier, Path(folder))
            process = context.Process(
                target=_work, args=(config, output, team, sender), daemon=True
            )
            with on_cores(cores[index::workers]):
                process.start()
            sender.close()
            processes.append(process)
            pipes.append(receiver)
        try:
            _wait_for(pipes)
        finally:
            barrier.abort()
            for process in processes:
                process.terminate()
                process.join()


def _wait_for(pipes):
    """Returns when all have said that they are done, or raises."""
    left = set(pipes)
    while left:
        for pipe in multiprocessing.connection.wait(left):
            try:
                error = pipe.recv()
            except EOFError:
                raise RuntimeError(
                    "A process of the training was killed, perhaps for want "
                    "of memory. The same call goes on from the last "
                    "checkpoint."
                ) from None
            if error is not None:
                raise error
            left.remove(pipe)


def _work(config, output, team, sender):
    try:
        train(config, output, team=team)
    except threading.BrokenBarrierError:
        pass  # another process says why
    except Exception as error:
        sender.send(error)
    else:
        sender.send(None)
