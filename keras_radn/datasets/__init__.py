"""Pairs of blurred and sharp images, and blur synthesis."""

from keras_radn.datasets.blur_synthesis import BlurStrength, SyntheticBlur
from keras_radn.datasets.loaders import (
    gopro,
    image_pairs,
    synthetic_blur,
    whole_images,
)
from keras_radn.datasets.pairs import ImagePairs, find_pairs
from keras_radn.datasets.patches import patch_dataset

__all__ = [
    "BlurStrength",
    "ImagePairs",
    "SyntheticBlur",
    "find_pairs",
    "gopro",
    "image_pairs",
    "patch_dataset",
    "synthetic_blur",
    "whole_images",
]
