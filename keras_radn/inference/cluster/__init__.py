"""Deblurring files on many machines."""

from keras_radn.inference.cluster.batch import deblur_on_ray

__all__ = ["deblur_on_ray"]
