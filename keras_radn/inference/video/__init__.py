"""Deblurring videos."""

from keras_radn.inference.video.process import deblur_video

__all__ = ["deblur_video"]
