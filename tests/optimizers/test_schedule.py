import numpy as np
import pytest
from numpy.testing import assert_allclose

from keras_radn.optimizers import WarmupStableDecay


def test_learning_rate_rises_stays_and_falls():
    schedule = WarmupStableDecay(
        2.0, steps=100, warmup_steps=10, decay_steps=40
    )
    rates = [float(schedule(step)) for step in (0, 5, 10, 60, 80, 90, 100, 200)]
    half = 1 - np.cos(np.pi / 4)  # three quarters of the fall
    assert_allclose(rates, [0, 1, 2, 2, 1, half, 0, 0], rtol=1e-5, atol=1e-6)
    again = WarmupStableDecay.from_config(schedule.get_config())
    assert float(again(90)) == float(schedule(90))
    lower = WarmupStableDecay(
        2.0, 100, warmup_steps=10, decay_steps=40, changes=[(50, 0.5)]
    )
    lower = WarmupStableDecay.from_config(lower.get_config())
    rates = [float(lower(step)) for step in (5, 49, 50, 80)]
    assert_allclose(rates, [1, 2, 0.5, 0.25], rtol=1e-5)
    with pytest.raises(ValueError, match="must fit into `steps`"):
        WarmupStableDecay(1.0, steps=10, warmup_steps=5, decay_steps=6)
    for parts in ((-1, 5), (5, -1)):
        with pytest.raises(ValueError, match="must not be negative"):
            WarmupStableDecay(1.0, 10, *parts)
