"""Deblurring pictures and videos with a trained network."""

from keras_radn import keras_setup

# So that options on tiles are checked without TensorFlow.
__getattr__, __dir__, __all__ = keras_setup.attach(__name__, __file__)
