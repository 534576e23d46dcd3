"""Optimizers and a schedule of the learning rate, for `compile`."""

from keras_radn.optimizers.optimizer import ConvMuon, JointClipAdam
from keras_radn.optimizers.schedule import WarmupStableDecay

__all__ = ["ConvMuon", "JointClipAdam", "WarmupStableDecay"]
