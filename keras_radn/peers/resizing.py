"""Bilinear resizing as TensorFlow 1 did it by default.

The first pixel of both images has the same place, so that a smaller image is
made of every second pixel. Weights that were trained so need it.
"""

import keras
from keras import layers, ops


def reduce(x: keras.KerasTensor, factor: int) -> keras.KerasTensor:
    """Images with a fraction of the height and width, which it divides."""
    return x[:, ::factor, ::factor, :] if factor > 1 else x


def double(x: keras.KerasTensor) -> keras.KerasTensor:
    """Images of twice the height and width.

    Between two pixels their mean is put, after the last one its copy.
    """
    x = layers.UpSampling2D(2, interpolation="nearest", dtype=x.dtype)(x)
    # The mean of a pixel and its copy is the pixel.
    following = ops.concatenate([x[:, 1:], x[:, -1:]], axis=1)
    x = (x + following) / 2
    following = ops.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2)
    return (x + following) / 2
