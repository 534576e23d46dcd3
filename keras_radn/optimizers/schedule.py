import math
from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_radn")
class WarmupStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises, stays, and falls to zero at the end.

    Unlike a cosine over the whole run, a long middle part can be cut or
    extended after the fact, and averaged weights (EMA) are good all along it.

    Args:
        learning_rate: the highest learning rate.
        steps: steps of the whole run.
        warmup_steps: steps over which it rises linearly from zero.
        decay_steps: last steps, over which a half cosine takes it to zero; 0
            for a constant rate.
        changes: other highest rates, as pairs of the first step and the rate.

    Raises:
        ValueError: if a part is negative, or they are longer than the run.

    Example:

    ```python
    rate = keras_radn.optimizers.WarmupStableDecay(
        1e-3, steps=40_000, warmup_steps=200, decay_steps=20_000
    )
    optimizer = keras_radn.optimizers.ConvMuon(rate)
    ```
    """

    def __init__(
        self,
        learning_rate: float,
        steps: int,
        warmup_steps: int,
        decay_steps: int,
        changes: Sequence[tuple[int, float]] = (),
    ):
        if min(warmup_steps, decay_steps) < 0:
            raise ValueError(
                "`warmup_steps` and `decay_steps` must not be negative. "
                f"Received: {warmup_steps} and {decay_steps}"
            )
        if warmup_steps + decay_steps > steps:
            raise ValueError(
                "`warmup_steps` and `decay_steps` must fit into `steps`. "
                f"Received: {warmup_steps}, {decay_steps} and {steps}; give "
                f"at least {warmup_steps + decay_steps} steps or shorten these"
            )
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.changes = [tuple(change) for change in changes]

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = step / self.warmup_steps if self.warmup_steps else 1.0
        rate = self.learning_rate
        for first, changed in self.changes:
            rate = ops.where(step >= first, changed, rate)
        rate *= ops.minimum(rise, 1.0)
        if self.decay_steps:
            left = (self.steps - step) / self.decay_steps
            rate *= 0.5 - 0.5 * ops.cos(math.pi * ops.clip(left, 0.0, 1.0))
        return rate

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
            "changes": self.changes,
        }
