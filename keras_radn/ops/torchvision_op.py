"""Deformable convolution by torchvision's operation, for PyTorch's GPUs.

torchvision is imported when it is first called.
"""

from typing import TYPE_CHECKING

from keras_radn.ops.geometry import ConvGeometry

if TYPE_CHECKING:
    import torch

# Outside of every image, and exact in float32.
_FAR = 2.0**20


def deformable_conv2d(
    inputs: "torch.Tensor",
    kernel: "torch.Tensor",
    offset: "torch.Tensor",
    mask: "torch.Tensor | None",
    geometry: ConvGeometry,
    groups: int,
    offset_groups: int,
) -> "torch.Tensor":
    """See `keras_radn.ops.deformable_conv2d`; arguments are checked there.

    Half precision is computed in float32: torchvision would round offsets, too,
    to it. The groups of the convolution follow from the kernel, those of the
    offsets from `offset`.
    """
    import torch
    from torchvision.ops import deform_conv2d

    wide = torch.promote_types(inputs.dtype, torch.float32)

    def channels_first(maps):
        return maps.to(wide).permute(0, 3, 1, 2).contiguous()

    # What torchvision samples at infinity is not defined.
    pairs = offset.to(wide).unflatten(-1, (-1, 2))
    finite = pairs.isfinite().all(-1, keepdim=True)
    offset = pairs.where(finite, pairs.new_tensor(_FAR)).flatten(-2)
    # Zeros around the image are what lies outside of it. torchvision's own are
    # the same on both sides.
    top, left = geometry.leading_padding(inputs.shape[1:3])
    bottom, right = (
        max(0, (out - 1) * stride + extent - size - before)
        for out, stride, extent, size, before in zip(
            offset.shape[1:3],
            geometry.strides,
            geometry.extents(),
            inputs.shape[1:3],
            (top, left),
            strict=True,
        )
    )
    padded = torch.nn.functional.pad(
        channels_first(inputs), (left, right, top, bottom)
    )
    outputs = deform_conv2d(
        padded,
        channels_first(offset),
        kernel.to(wide).permute(3, 2, 0, 1).contiguous(),
        stride=geometry.strides,
        dilation=geometry.dilation_rate,
        mask=None if mask is None else channels_first(mask),
    )
    return outputs.permute(0, 2, 3, 1).to(inputs.dtype)
