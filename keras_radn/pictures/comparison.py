"""A picture of before and after."""

import numpy as np
from PIL import Image

from keras_radn.pictures.picture import Metadata, Picture
from keras_radn.pictures.pixels import in_depth, white

# Pixels between before and after, and the longest side that JPEG holds.
_GAP = 8
_LONGEST_SIDE = 65_500


def before_and_after(before: Picture, after: Picture) -> Picture:
    """Two pictures side by side, wide ones one above the other, in 8 bits.

    Args:
        before: a picture.
        after: one of the same size and dtype.

    Returns:
        A picture without alpha, with a white gap in the middle.
    """
    height, width = before.pixels.shape[:2]
    axis = 0 if width > 2 * height else 1
    arrays = [in_depth(picture.pixels, "uint8") for picture in (before, after)]
    shape = list(arrays[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, white("uint8"), np.uint8)
    both = np.concatenate([arrays[0], gap, arrays[1]], axis)
    if max(both.shape[:2]) > _LONGEST_SIDE:
        image = Image.fromarray(both)
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        both = np.asarray(image)
    return Picture(
        both, metadata=Metadata(icc_profile=before.metadata.icc_profile)
    )
