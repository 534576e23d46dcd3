"""Deformable convolution as a function."""

from keras_radn.ops.deformable import deformable_conv2d

__all__ = ["deformable_conv2d"]
