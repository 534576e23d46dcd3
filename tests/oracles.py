"""Independent computations that the package is compared with."""

import numpy as np


def same_padding(size, kernel, stride, dilation):
    """Returns output size and padding by TensorFlow's documented rule."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return out, total // 2, total - total // 2


def deformable_conv2d(
    inputs,
    kernel,
    offset,
    mask=None,
    strides=(1, 1),
    padding="same",
    dilation_rate=(1, 1),
    offset_groups=1,
):
    """Computes equation 4 with loops in float64."""
    _, height, width, channels = inputs.shape
    kernel_height, kernel_width, depth, filters = kernel.shape
    taps, groups = kernel_height * kernel_width, channels // depth
    pads = [0, 0]
    if padding == "same":
        pads = [
            same_padding(*sizes)[1]
            for sizes in zip(
                (height, width),
                kernel.shape[:2],
                strides,
                dilation_rate,
                strict=True,
            )
        ]
    outputs = np.zeros((*offset.shape[:3], filters))
    for b, i, j in np.ndindex(*offset.shape[:3]):
        for c, p in np.ndindex(channels, taps):
            row, column = divmod(p, kernel_width)
            q = c // (channels // offset_groups) * taps + p
            y = i * strides[0] - pads[0] + row * dilation_rate[0]
            x = j * strides[1] - pads[1] + column * dilation_rate[1]
            value = bilinear(
                inputs[b, :, :, c],
                y + offset[b, i, j, 2 * q],
                x + offset[b, i, j, 2 * q + 1],
            )
            if mask is not None:
                value *= mask[b, i, j, q]
            g = c // depth
            window = slice(g * filters // groups, (g + 1) * filters // groups)
            outputs[b, i, j, window] += (
                value * kernel[row, column, c % depth, window]
            )
    return outputs


def bilinear(image, y, x):
    """Samples by torchvision's border rule: zero outside (-1, H) x (-1, W)."""
    height, width = image.shape
    if not (-1 < y < height and -1 < x < width):
        return 0.0
    top, left = int(np.floor(y)), int(np.floor(x))
    value = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                value += image[row, column] * weight
    return value


def onnx_deform_conv(
    inputs,
    kernel,
    offset,
    mask=None,
    strides=(1, 1),
    padding="same",
    dilation_rate=(1, 1),
    offset_groups=1,
):
    """Runs onnxruntime's DeformConv (opset 19) on channels-last arrays."""
    # Here, not above: tests on GPUs and of other backends have none.
    import onnx
    import onnxruntime

    before, after = [0, 0], [0, 0]
    if padding == "same":
        for axis in range(2):
            _, before[axis], after[axis] = same_padding(
                inputs.shape[1 + axis],
                kernel.shape[axis],
                strides[axis],
                dilation_rate[axis],
            )
    feeds = {
        "x": inputs.transpose(0, 3, 1, 2),
        "w": kernel.transpose(3, 2, 0, 1),
        "offset": offset.transpose(0, 3, 1, 2),
    }
    names = ["x", "w", "offset"]
    if mask is not None:
        feeds["mask"] = mask.transpose(0, 3, 1, 2)
        names += ["", "mask"]
    feeds = {
        name: np.ascontiguousarray(array, "float32")
        for name, array in feeds.items()
    }
    node = onnx.helper.make_node(
        "DeformConv",
        names,
        ["y"],
        strides=strides,
        dilations=dilation_rate,
        pads=[*before, *after],
        group=inputs.shape[3] // kernel.shape[2],
        offset_group=offset_groups,
        kernel_shape=kernel.shape[:2],
    )
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "oracle",
        [
            onnx.helper.make_tensor_value_info(name, float32, array.shape)
            for name, array in feeds.items()
        ],
        [onnx.helper.make_tensor_value_info("y", float32, [None] * 4)],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", 19)],
        ir_version=9,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, feeds)[0].transpose(0, 2, 3, 1)


def self_attention(features, weights, pool=1, window=0):
    """Computes equations 5 and 6, position by position, in float64.

    `weights` has the matrix and bias of the 1x1 convolutions to B, C and D;
    B and D are those of means over windows with the side `pool`, of which only
    those in a `window` around the position's block are looked at.
    """
    a = features.astype("float64")
    pooled = windows(a, pool)
    b, c, d = (
        x @ matrix + bias
        for x, (matrix, bias) in zip((pooled, a, pooled), weights, strict=True)
    )
    outputs = np.empty_like(a)
    for j in np.ndindex(a.shape[:2]):
        near = tuple(
            keys_near(place, size, pool, window)
            for place, size in zip(j, pooled.shape[:2], strict=True)
        )
        similarity = b[near] @ c[j]
        s = np.exp(similarity - similarity.max())
        s /= s.sum()
        outputs[j] = a[j] + np.einsum("yx,yxc->c", s, d[near])
    return outputs


def keys_near(place, keys, pool, window):
    """Which keys a row or column relates to: all, or a slice of them."""
    if not window:
        return slice(None)
    side = window // 2 // pool  # of a block
    first = place // (window // 2) * side - side // 2
    first = max(min(first, keys - 2 * side), 0)
    return slice(first, first + 2 * side)


def windows(features, size):
    """Returns means over windows, which may be cut at the border."""
    rows, columns = (range(0, n, size) for n in features.shape[:2])
    return np.array(
        [
            [features[i : i + size, j : j + size].mean((0, 1)) for j in columns]
            for i in rows
        ]
    )


def enlarge(maps, size):
    """Enlarges bilinearly about the centers of pixels, in float64.

    Args:
        maps: `(batch, height, width, channels)`.
        size: how many times.
    """
    for axis in (1, 2):
        count = maps.shape[axis]
        centers = (np.arange(count * size) + 0.5) / size - 0.5
        maps = np.apply_along_axis(
            lambda line, at=centers: np.interp(at, np.arange(len(line)), line),
            axis,
            maps,
        )
    return maps


def conv3x3(inputs, kernel):
    """Computes a 3x3 convolution with zeros around the image, in float64."""
    padded = np.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, height, width, _ = inputs.shape
    return sum(
        padded[:, dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        for dy in range(3)
        for dx in range(3)
    )
