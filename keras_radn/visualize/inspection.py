"""Arrays of what a network estimates inside for an image."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_radn.inference.tiling import affordable_pixels
from keras_radn.layers import (
    DeformableConv2D,
    DenseDeformableModule,
    PadToMultiple,
    SelfAttention,
)
from keras_radn.pictures.pixels import check_image, white


@dataclass(frozen=True)
class OffsetField:
    """Offsets of a dense deformable module or a deformable convolution.

    Attributes:
        values: float32 `(units, height, width, kernel_height, kernel_width,
            2)`, `(dy, dx)` in pixels of the image, at the positions that lie in
            the image; a convolution on its own is one unit.
        stride: pixels of the image from one position to the next.
    """

    values: np.ndarray
    stride: int


class Inspection:
    """What a network of this package estimates inside for an image.

    The network runs once, up to its last deformable layer; the methods make
    arrays of what it found. Maps have the size of the image, to which they are
    interpolated bilinearly; points are `(x, y)` in pixels of the image from its
    upper left corner; offsets are in pixels of the image, too.

    Args:
        model: a `RADN` or `ResidualBaseline` with deformable convolutions,
            self-attention, or both.
        image: an array as for `keras_radn.deblur`; alpha is left out.
        max_pixels: larger images are refused, as the attention relates all of
            an image and tiles would not show what it does. `None`: what the
            memory allows, up to 2 megapixels.

    Attributes:
        image: the picture, float32 `(height, width, 3)` in [0, 1].

    Raises:
        ValueError: if the network has neither, the array is not an image, or it
            is too large.

    Example:

    ```python
    from keras_radn import visualize

    model = keras_radn.RADN(pretrained=True)
    inspection = visualize.Inspection(model, blurred)
    spread = inspection.offset_difference()  # (height, width), pixels
    ```

    Reference: section "Network Visualization" of the paper.
    """

    def __init__(
        self,
        model: keras.Model,
        image: np.ndarray,
        *,
        max_pixels: int | None = None,
    ):
        self._deformable = [la for la in model.layers if _has_offsets(la)]
        self._attention = next(
            (la for la in model.layers if isinstance(la, SelfAttention)), None
        )
        if not self._deformable and self._attention is None:
            raise ValueError(
                f"The network {model.name!r} has neither deformable "
                "convolutions nor self-attention, so that there is nothing to "
                "see in it; take another variant, such as radn_final."
            )
        if max_pixels is None:
            max_pixels = affordable_pixels()
        self.image = as_rgb(image)
        _check_size(self.image, max_pixels)
        self._features, self._padded_height = self._run(model)

    def _run(self, model):
        """Inputs of the layers, and the height of the padded image."""
        inputs = {la.name: la.input for la in self._deformable}
        if self._attention is not None:
            inputs[self._attention.name] = self._attention.input
        padded = [la.output for la in model.layers if _pads(la)]
        images = model.inputs[0]
        network = keras.Model(images, [inputs, *padded])
        batch = ops.cast(self.image[np.newaxis], images.dtype)
        features, *padded = network(batch, training=False)
        return features, (padded or [batch])[0].shape[1]

    @property
    def layers(self) -> list[str]:
        """Names of the layers with deformable convolutions, in their order."""
        return [layer.name for layer in self._deformable]

    @property
    def has_attention(self) -> bool:
        """Whether the network has a self-attention module."""
        return self._attention is not None

    @functools.cached_property
    def offsets(self) -> dict[str, OffsetField]:
        """Offsets of each layer of `layers`, by its name.

        Raises:
            ValueError: if the network has no deformable convolutions.
        """
        if not self._deformable:
            raise ValueError(
                "The network has no deformable convolutions and so no "
                "offsets; take another variant, such as radn_final."
            )
        return {layer.name: self._field(layer) for layer in self._deformable}

    def _field(self, layer):
        features = self._features[layer.name]
        if isinstance(layer, DenseDeformableModule):
            kernel_size = layer.convs[0].kernel_size
            offsets = layer.offsets(features)
        else:
            kernel_size = layer.kernel_size
            offsets = [layer.estimate_offset(features)[0]]
        stride = self._stride(features)
        values = np.stack([self._inside(o, stride) for o in offsets]) * stride
        return OffsetField(
            values.reshape((*values.shape[:3], *kernel_size, 2)), stride
        )

    def offset_difference(
        self, layer: str | None = None, unit: int | None = None
    ) -> np.ndarray:
        """How much the kernel is spread horizontally (Figure 7, second row).

        The x-offset of the kernel's last column minus that of its first one,
        mean over the rows. Positive where the kernel is wider than one of an
        ordinary convolution.

        Args:
            layer: one of `layers`; `None` is the second one (as in the paper)
                or the only one.
            unit: of a dense deformable module, from 1; `None` is the mean over
                its units, as the paper does not say which one it shows.

        Returns:
            float32 `(height, width)`, in pixels of the image.

        Raises:
            ValueError: if there is no such layer or unit.
        """
        field = self._chosen(layer, unit)
        x = field.values.mean(axis=0)[..., 1]
        difference = (x[..., -1] - x[..., 0]).mean(axis=-1)
        return self._upsample(difference, field.stride)

    def offset_magnitude(self) -> float:
        """Mean length of the offsets of all layers (Figure 8).

        Every deformable convolution counts the same, whatever its resolution.

        Returns:
            Pixels of the image.

        Raises:
            ValueError: if the network has no deformable convolutions.
        """
        means = [
            np.linalg.norm(unit, axis=-1).mean(dtype=np.float64)
            for field in self.offsets.values()
            for unit in field.values
        ]
        return float(np.mean(means))

    def sampling_points(
        self,
        points: Sequence[tuple[float, float]],
        layer: str | None = None,
        unit: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the kernels sample the image: without and with offsets.

        Args:
            points: `(x, y)` each; the kernels of the positions there.
            layer: see `offset_difference`.
            unit: from 1; `None` is all units.

        Returns:
            The sampling points of an ordinary convolution, `(points, taps,
            2)`, and those of the units, `(points, units, taps, 2)`; float32
            `(x, y)` in pixels of the image, taps in the order of the kernel's
            rows.

        Raises:
            ValueError: if there is no such layer or unit, or a point lies
                outside of the image.
        """
        field = self._chosen(layer, unit)
        kernel_height, kernel_width = field.values.shape[3:5]
        taps = np.stack(
            np.meshgrid(
                np.arange(kernel_width) - (kernel_width - 1) // 2,
                np.arange(kernel_height) - (kernel_height - 1) // 2,
            ),
            axis=-1,
        ).reshape(-1, 2)
        cells = np.array([self._cell(point, field.stride) for point in points])
        regular = _center(cells[:, np.newaxis, ::-1] + taps, field.stride)
        rows, columns = cells.T
        offsets = field.values[:, rows, columns]
        offsets = offsets.reshape((*offsets.shape[:2], -1, 2))[..., ::-1]
        moved = regular[:, np.newaxis] + offsets.swapaxes(0, 1)
        return regular.astype("float32"), moved.astype("float32")

    def attention_residual(self) -> np.ndarray:
        """What the self-attention adds (Figure 7, third row).

        The mean over the channels of the magnitude of equation 6's
        `sum_i s[j, i] D[i]`.

        Returns:
            float32 `(height, width)`.

        Raises:
            ValueError: if the network has no self-attention.
        """
        features = self._attention_features()
        stride = self._stride(features)
        residual = self._inside(self._attention.residual(features), stride)
        return self._upsample(np.abs(residual).mean(axis=-1), stride)

    def attention(self, point: tuple[float, float]) -> np.ndarray:
        """How much a point attends to each place of the image.

        `s[j, i]` of equation 5 for the position `j` of the point, times the
        number of positions: 1 everywhere would be attention to all alike.

        Args:
            point: `(x, y)` in pixels of the image.

        Returns:
            float32 `(height, width)`.

        Raises:
            ValueError: if the network has no self-attention or the point lies
                outside of the image.
        """
        features = self._attention_features()
        stride = self._stride(features)
        cell = self._cell(point, stride)
        weights = self._attention.attention(features, cell)[..., np.newaxis]
        stride *= self._attention.pool_size
        relative = self._inside(weights, stride)[..., 0]
        return self._upsample(relative * math.prod(weights.shape), stride)

    def _attention_features(self):
        if self._attention is None:
            raise ValueError(
                "The network has no self-attention; take another variant, "
                "such as radn_final."
            )
        return self._features[self._attention.name]

    def _chosen(self, layer, unit):
        """Offsets of one layer, of all of its units or of one."""
        if layer is None:
            layer = list(self.offsets)[:2][-1]
        if layer not in self.offsets:
            raise ValueError(
                f"`layer` must be one of {', '.join(self.offsets)}. "
                f"Received: {layer!r}"
            )
        field = self.offsets[layer]
        if unit is None:
            return field
        units = len(field.values)
        if not 1 <= unit <= units:
            raise ValueError(
                f"`unit` must be from 1 to {units}. Received: {unit}"
            )
        return OffsetField(field.values[unit - 1 : unit], field.stride)

    def _stride(self, features):
        return self._padded_height // features.shape[1]

    def _inside(self, features, stride):
        """The first of a batch, without the positions in the padding."""
        height, width = (-(-side // stride) for side in self.image.shape[:2])
        inside = ops.cast(features[0, :height, :width], "float32")
        inside = ops.convert_to_numpy(inside)
        if not np.isfinite(inside).all():
            raise ValueError(
                "The network computes NaN or infinite numbers for this image; "
                "its weights are damaged, or its training diverged."
            )
        return inside

    def _cell(self, point, stride):
        """Row and column of the position at a point."""
        x, y = point
        height, width = self.image.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"A point must lie in the image of {width}x{height} pixels. "
                f"Received: x={x:g}, y={y:g}"
            )
        return int(y // stride), int(x // stride)

    def _upsample(self, values, stride):
        height, width = values.shape
        resized = ops.image.resize(
            values[..., np.newaxis], (height * stride, width * stride)
        )
        resized = ops.convert_to_numpy(resized)[..., 0]
        return resized[: self.image.shape[0], : self.image.shape[1]]


def _has_offsets(layer):
    if isinstance(layer, DenseDeformableModule):
        return layer.deformable
    return isinstance(layer, DeformableConv2D)


def _pads(layer):
    return isinstance(layer, PadToMultiple)


def _center(cell, stride):
    """Where the middle of a position of the features lies in the image."""
    return (cell + 0.5) * stride - 0.5


def _check_size(image, max_pixels):
    pixels = image.shape[0] * image.shape[1]
    if pixels > max_pixels:
        raise ValueError(
            f"The image has {pixels / 1e6:.1f} megapixels; up to "
            f"{max_pixels / 1e6:.1f} can be looked into. Reduce it, or raise "
            "`max_pixels` if there is enough memory."
        )


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image as the networks see it, without its alpha.

    Args:
        image: an array as for `keras_radn.deblur`.

    Returns:
        float32 `(height, width, 3)` in [0, 1].

    Raises:
        ValueError: if the array is not an image.

    Example:

    ```python
    from keras_radn import visualize

    rgb = visualize.as_rgb(sharp_bytes)  # float32 in [0, 1]
    ```
    """
    check_image(image)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    colors = 3 if image.shape[2] > 2 else 1
    image = image[..., :colors].astype("float32") / np.float32(
        white(image.dtype)
    )
    return np.broadcast_to(image, (*image.shape[:2], 3))
