"""What the processes of one training know of each other."""

import dataclasses
import multiprocessing
import threading
from pathlib import Path

import keras
import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class Team:
    """One of several processes that train a network together.

    Attributes:
        index: of this process; 0 writes the files of the run.
        count: how many there are.
        barrier: where they wait for each other: a barrier of `multiprocessing`
            (or `threading`).
        folder: through which they exchange weights; best in memory.
    """

    index: int
    count: int
    barrier: threading.Barrier
    folder: Path

    def average(self, values: np.ndarray) -> np.ndarray:
        """The mean of the values of all processes, which all must ask for.

        Args:
            values: float array of the same shape in each process.

        Raises:
            threading.BrokenBarrierError: if another process ended.
        """
        np.save(self._file(self.index), values)
        self.meet()
        total = np.zeros_like(values)
        for index in range(self.count):  # in one order, for equal rounding
            total += np.load(self._file(index))
        self.barrier.wait()  # before the files are written again
        return total / self.count

    def meet(self) -> None:
        """Waits until all processes have called it.

        Raises:
            threading.BrokenBarrierError: if another process ended.
        """
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            # It was killed, and nobody else ends its processes.
            raise threading.BrokenBarrierError
        self.barrier.wait()

    def _file(self, index):
        return self.folder / f"{index}.npy"


class AverageWeights(keras.callbacks.Callback):
    """Makes the weights of all processes of a team their mean.

    What the optimizer knows of them, too. In between each process goes its own
    way: "local SGD", which exchanges less than averaging gradients does.

    Args:
        team: the processes; all must train for the same number of steps.
        steps: steps between two averages; there is one at the end of each
            epoch, too.

    Reference: Lin et al., Don't Use Large Mini-Batches, Use Local SGD, ICLR
    2020.
    """

    def __init__(self, team: Team, steps: int):
        super().__init__()
        self.team = team
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self.steps == 0:
            self._average()

    def on_epoch_end(self, epoch, logs=None):
        self._average()

    def _average(self):
        variables = [
            variable
            for variable in self.model.variables
            + self.model.optimizer.variables
            if keras.backend.is_float_dtype(variable.dtype)
        ]
        arrays = [ops.convert_to_numpy(variable) for variable in variables]
        flat = np.concatenate([a.ravel() for a in arrays]).astype("float32")
        mean = self.team.average(flat)
        ends = np.cumsum([a.size for a in arrays])
        for variable, array, part in zip(
            variables, arrays, np.split(mean, ends[:-1]), strict=True
        ):
            variable.assign(part.reshape(array.shape))
