"""Deblurring networks."""

from keras_radn import keras_setup

# So that the names of presets are known without TensorFlow.
__getattr__, __dir__, __all__ = keras_setup.attach(__name__, __file__)
