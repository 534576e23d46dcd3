"""Keras layers of the Region-Adaptive Dense Network."""

from keras_radn.layers.context_aggregation import ContextAggregation
from keras_radn.layers.crop_like import CropLike
from keras_radn.layers.deformable_conv2d import DeformableConv2D
from keras_radn.layers.dense_block import DenseBlock
from keras_radn.layers.dense_deformable_module import DenseDeformableModule
from keras_radn.layers.pad_to_multiple import PadToMultiple
from keras_radn.layers.self_attention import SelfAttention
from keras_radn.layers.space_to_depth import SpaceToDepth
from keras_radn.layers.transition import Transition

__all__ = [
    "ContextAggregation",
    "CropLike",
    "DeformableConv2D",
    "DenseBlock",
    "DenseDeformableModule",
    "PadToMultiple",
    "SelfAttention",
    "SpaceToDepth",
    "Transition",
]
