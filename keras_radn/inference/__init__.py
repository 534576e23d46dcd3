"""Deblurring pictures with a trained network."""

from keras_radn.inference.deblur import Deblurrer, deblur
from keras_radn.inference.files import Report, deblur_files

__all__ = ["Deblurrer", "Report", "deblur", "deblur_files"]
