"""Deblurring pictures with a trained network."""

from keras_radn.inference.deblur import Deblurrer, deblur
from keras_radn.inference.files import Report, deblur_files
from keras_radn.inference.video import deblur_video

__all__ = ["Deblurrer", "Report", "deblur", "deblur_files", "deblur_video"]
