"""What a network does, as arrays and as pictures."""

from keras_radn.keras_setup import import_keras

import_keras()

from keras_radn.visualize.correlation import rank_correlation
from keras_radn.visualize.curves import training_curves
from keras_radn.visualize.figures import (
    attention_figure,
    blur_strength_figure,
    magnitude_figure,
    map_figure,
    sampling_figure,
)
from keras_radn.visualize.inspection import Inspection, OffsetField, as_rgb

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
