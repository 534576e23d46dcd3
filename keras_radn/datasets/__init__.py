"""Pairs of blurred and sharp patches for training."""

from keras_radn.datasets.image_pairs import ImagePairs
from keras_radn.datasets.patches import patch_dataset
from keras_radn.datasets.synthetic_blur import SyntheticBlur

__all__ = ["ImagePairs", "SyntheticBlur", "patch_dataset"]
