"""A training that ends with its time instead of after its steps."""

import math
import time
from collections.abc import Callable

import keras

from keras_radn.ops import backend
from keras_radn.training.callbacks import completed_steps

# A change smaller than this share of the highest rate is not passed on.
_COARSENESS = 0.01


class TimeLimit(keras.callbacks.Callback):
    """Takes the learning rate to zero until a moment, and stops there.

    The rate falls by half a cosine over the last part of the time that follows
    the first step, which is compiled. The optimizer's rate must be a number: of
    a schedule, one would have to know the steps in advance.

    Args:
        end: when to stop, by `time.monotonic`; one step is done in any case.
        rates: the rate before it falls, a function of the steps so far.
        share: the last part of the time, in (0, 1].
        expect: is told after each step how many the run will have, if the
            others take as long as those so far.
    """

    def __init__(
        self,
        end: float,
        rates: Callable[[int], float],
        share: float,
        expect: Callable[[int], None],
    ):
        super().__init__()
        self.end = end
        self.rates = rates
        self.share = share
        self.expect = expect

    def on_train_begin(self, logs=None):
        self.step = completed_steps(self.model)
        self.first = None
        self.rate, self.highest = math.inf, 0.0

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.rates(self.step) * self._left()
        self.highest = max(self.highest, rate)
        if abs(rate - self.rate) < _COARSENESS * self.highest:
            return
        self.rate = rate
        # Between two steps, the backend may have the rate elsewhere.
        backend.read_state(self.model)
        self.model.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        self.step += 1
        if self.first is None:
            self.first = self.last = self.step, now
        last = now - self.last[1]
        self.last = self.step, now
        if now + last >= self.end:
            self.model.stop_training = True
            self.expect(self.step)
        elif self.step > self.first[0]:
            seconds = (now - self.first[1]) / (self.step - self.first[0])
            self.expect(self.step + int((self.end - now) / seconds))

    def _left(self):
        """What is left of the rate, from 1 to 0."""
        if self.first is None:
            return 1.0
        begun = self.first[1]
        left = (self.end - time.monotonic()) / (self.end - begun)
        left = min(max(left / self.share, 0.0), 1.0)
        return 0.5 - 0.5 * math.cos(math.pi * left)
