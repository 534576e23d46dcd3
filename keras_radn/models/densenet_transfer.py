"""Copies DenseNet-121 into the encoder of a RADN.

DenseNet-121's blocks have 6, 12, 24 (and 16) units, the paper's 12, 16, 24.
Units 1-6 of block 1, 1-12 of block 2 and all of block 3 take DenseNet's own.
The further units take those DenseNet units that have the same input width,
and their rows of the following transition start at zero, so that at the start
the encoder computes exactly DenseNet-121's features.
"""

import os
from pathlib import Path

import keras
import numpy as np

# DenseNet-121 of keras.applications: block names, and the pooling stage that
# holds the transition after each block.
_BLOCKS = ("conv2", "conv3", "conv4")
_TRANSITIONS = ("pool2", "pool3", "pool4")
_UNITS = (6, 12, 24)
# Channels at the start of each block.
_WIDTHS = (64, 128, 256)


def load_densenet121(model: keras.Model, weights: str | os.PathLike) -> None:
    """Initialises the encoder of a `RADN` from a DenseNet-121.

    Args:
        model: a `RADN` with the paper's encoder.
        weights: `"imagenet"` (downloaded by `keras.applications`), or the
            path of a weights file of `keras.applications.DenseNet121`, with
            or without its classifier.

    Raises:
        FileNotFoundError: if the path names no file.
        ValueError: if the file does not hold the weights of a DenseNet-121,
            the download fails, or the model's encoder has other shapes.
    """
    transfer_densenet121(model, _densenet121(weights))


def _densenet121(weights):
    build = keras.applications.DenseNet121
    if weights == "imagenet":
        try:
            return build(include_top=False, weights="imagenet")
        except Exception as error:
            raise ValueError(
                "The ImageNet weights of DenseNet-121 could not be "
                f"downloaded ({error}). Pass the path of a weights file of "
                "keras.applications.DenseNet121 as `encoder_weights`, or None."
            ) from error
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f"There is no DenseNet-121 weights file at {weights!s}. Pass "
            '"imagenet", None or the path of a file.'
        )
    problems = []
    for include_top in (False, True):
        densenet = build(
            include_top=include_top,
            weights=None,
            input_shape=None if include_top else (None, None, 3),
        )
        try:
            densenet.load_weights(weights)
            return densenet
        except Exception as error:  # h5py and Keras raise many kinds
            problems.append(str(error).strip().split("\n")[0])
    raise ValueError(
        f"{weights!s} is not a weights file of keras.applications.DenseNet121: "
        f"{problems[0]}"
    )


def transfer_densenet121(model: keras.Model, densenet: keras.Model) -> None:
    """Copies the weights of a DenseNet-121 into the encoder of a `RADN`.

    Args:
        model: a `RADN` with the paper's encoder.
        densenet: a `keras.applications.DenseNet121`.

    Raises:
        ValueError: if the model's encoder has other shapes.
    """
    if (
        model.encoder_units != (12, 16, 24)
        or model.transition_filters != (128, 256, 512)
        or model.growth_rate != 32
        or model.stem_filters != 64
    ):
        raise ValueError(
            "Only the paper's encoder fits DenseNet-121. Received: "
            f"{model.architecture()}"
        )
    source = {layer.name: layer for layer in densenet.layers}

    def copy(layer, name):
        layer.set_weights(source[name].get_weights())

    model.get_layer("stem_conv").set_weights(
        [fold_stem_kernel(source["conv1_conv"].get_weights()[0])]
    )
    copy(model.get_layer("stem_norm"), "conv1_bn")
    for i, (name, transition_name) in enumerate(
        zip(_BLOCKS, _TRANSITIONS, strict=True)
    ):
        block = model.get_layer(f"encoder_block{i + 1}")
        for unit in range(block.units):
            unit_name = f"{name}_block{unit + 1}"
            if unit >= _UNITS[i]:
                # The next block's unit of the same input width.
                width = _WIDTHS[i] + 32 * unit
                same = (width - _WIDTHS[i + 1]) // 32 + 1
                unit_name = f"{_BLOCKS[i + 1]}_block{same}"
            copy(block.bottleneck_norms[unit], f"{unit_name}_0_bn")
            copy(block.bottleneck_convs[unit], f"{unit_name}_1_conv")
            copy(block.growth_norms[unit], f"{unit_name}_1_bn")
            copy(block.growth_convs[unit], f"{unit_name}_2_conv")
        transition = model.get_layer(f"encoder_transition{i + 1}")
        _copy_widened(transition.norm, source[f"{transition_name}_bn"])
        _copy_widened(transition.conv, source[f"{transition_name}_conv"], 2)


def _copy_widened(layer, source, axis=0):
    """Copies to the first input channels.

    The kernel's further rows become zero; a batch norm's further channels
    keep their start.
    """
    weights = []
    for ours, theirs in zip(
        layer.get_weights(), source.get_weights(), strict=True
    ):
        widened = np.zeros_like(ours) if axis else ours
        inner = [slice(None)] * axis + [slice(theirs.shape[axis])]
        widened[tuple(inner)] = theirs
        weights.append(widened)
    layer.set_weights(weights)


def fold_stem_kernel(kernel: np.ndarray) -> np.ndarray:
    """Turns a 7x7 stride-2 kernel into the 4x4 kernel after space-to-depth.

    The 7x7 kernel is put into 8x8 with a zero first row and column; its 2x2
    phases become channels. Applied with stride 1 and a padding of 2 before
    and 1 after to the space-to-depth image it equals the 7x7 convolution with
    stride 2 and a padding of 3.

    Args:
        kernel: `(7, 7, channels, filters)`.

    Returns:
        `(4, 4, 4 * channels, filters)`.
    """
    channels, filters = kernel.shape[2:]
    kernel = np.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    kernel = kernel.reshape(4, 2, 4, 2, channels, filters)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, -1, filters)
