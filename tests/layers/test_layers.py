"""The checks that all layers share."""

import pytest

from keras_radn import layers
from tests.layers.checks import check_layer

CASES = {
    "SpaceToDepth": (lambda **k: layers.SpaceToDepth(2, **k), (6, 8, 3)),
    "PadToMultiple": (lambda **k: layers.PadToMultiple(4, **k), (5, 7, 3)),
    "DenseBlock": (lambda **k: layers.DenseBlock(2, 4, **k), (5, 6, 8)),
    "DenseBlock, narrow": (
        lambda **k: layers.DenseBlock(1, 4, bottleneck_filters=3, **k),
        (5, 6, 8),
    ),
    "Transition": (lambda **k: layers.Transition(5, **k), (5, 6, 8)),
    "DeformableConv2D": (
        lambda **k: layers.DeformableConv2D(3, **k),
        (5, 6, 8),
    ),
    "DeformableConv2D, general": (
        lambda **k: layers.DeformableConv2D(
            12,
            (3, 2),
            strides=(1, 2),
            padding="valid",
            groups=2,
            offset_groups=4,
            modulated=True,
            activation="relu",
            use_bias=False,
            **k,
        ),
        (9, 8, 8),
    ),
    "DeformableConv2D, dilated": (
        lambda **k: layers.DeformableConv2D(4, dilation_rate=(1, 2), **k),
        (5, 6, 8),
    ),
    "DenseDeformableModule": (
        lambda **k: layers.DenseDeformableModule(5, 2, 4, **k),
        (5, 6, 8),
    ),
    "DenseDeformableModule, ordinary": (
        lambda **k: layers.DenseDeformableModule(
            5, 2, 4, deformable=False, **k
        ),
        (5, 6, 8),
    ),
    "SelfAttention": (lambda **k: layers.SelfAttention(**k), (5, 6, 16)),
    "ContextAggregation": (
        lambda **k: layers.ContextAggregation((2, 4), 2, **k),
        (5, 6, 3),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_layer(case, tmp_path):
    build, input_shape = CASES[case]
    check_layer(build, input_shape, tmp_path)


def test_all_layers_are_checked():
    checked = {case.split(",")[0] for case in CASES}
    assert checked | {"CropLike"} == set(layers.__all__)
