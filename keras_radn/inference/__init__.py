"""Deblurring pictures with a trained network."""

from keras_radn.inference.deblur import deblur
from keras_radn.inference.files import deblur_file

__all__ = ["deblur", "deblur_file"]
