"""Pictures of what a network does."""

from keras_radn.visualize.curves import training_curves

__all__ = ["training_curves"]
