"""What a network does, as arrays and as pictures."""

from keras_radn.visualize.correlation import rank_correlation
from keras_radn.visualize.curves import training_curves
from keras_radn.visualize.inspection import Inspection, OffsetField, as_rgb
from keras_radn.visualize.pictures import (
    attention_figure,
    blur_strength_figure,
    magnitude_figure,
    map_figure,
    sampling_figure,
)

__all__ = [
    "Inspection",
    "OffsetField",
    "as_rgb",
    "attention_figure",
    "blur_strength_figure",
    "magnitude_figure",
    "map_figure",
    "rank_correlation",
    "sampling_figure",
    "training_curves",
]
