"""Pairs of blurred and sharp images, and blur synthesis."""

from keras_radn.datasets.blur_synthesis import SyntheticBlur, motion_blur
from keras_radn.datasets.camera import BlurStrength
from keras_radn.datasets.check import check_sources
from keras_radn.datasets.loaders import (
    gopro,
    gopro_pairs,
    image_pairs,
    synthetic_blur,
    synthetic_source,
    whole_images,
)
from keras_radn.datasets.pairs import ImagePairs, find_pairs
from keras_radn.datasets.patches import JoinedSources, PatchSource
from keras_radn.datasets.tensors import patch_dataset
from keras_radn.datasets.video import VideoBlur

__all__ = [
    "BlurStrength",
    "ImagePairs",
    "JoinedSources",
    "PatchSource",
    "SyntheticBlur",
    "VideoBlur",
    "check_sources",
    "find_pairs",
    "gopro",
    "gopro_pairs",
    "image_pairs",
    "motion_blur",
    "patch_dataset",
    "synthetic_blur",
    "synthetic_source",
    "whole_images",
]
