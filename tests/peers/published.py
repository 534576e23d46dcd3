"""The authors' networks in NumPy (float64), on entries of their files.

Names, shapes and order are those of the authors' public code; nothing here is
shared with the package. Images are `(height, width, channels)`.
"""

import numpy as np

GRIDS = ((1, 1), (2, 1), (2, 2), (4, 2))


def convolve(x, kernel, bias, stride=1, padding=None):
    """Convolves with zeros before and after each side.

    Args:
        x: `(height, width, in)`.
        kernel: `(rows, columns, in, out)`.
        bias: `(out,)`.
        stride: of both sides.
        padding: before and after; `None`: the same size at stride 1.
    """
    rows, columns, _, filters = kernel.shape
    before, after = padding or ((rows - 1) // 2, (rows - 1) // 2)
    x = np.pad(x, ((before, after), (before, after), (0, 0)))
    height = (x.shape[0] - rows) // stride + 1
    width = (x.shape[1] - columns) // stride + 1
    y = np.zeros((height, width, filters)) + bias
    for i, j in np.ndindex(rows, columns):
        window = x[
            i : i + stride * (height - 1) + 1 : stride,
            j : j + stride * (width - 1) + 1 : stride,
        ]
        y += window @ kernel[i, j]
    return y


def deconvolve(x, kernel, bias):
    """Deconvolves to twice the size, cutting one pixel before.

    Args:
        x: `(height, width, in)`.
        kernel: `(rows, columns, out, in)`.
        bias: `(out,)`.
    """
    height, width, _ = x.shape
    rows, columns, filters, _ = kernel.shape
    y = np.zeros((2 * height + rows, 2 * width + columns, filters))
    for i, j in np.ndindex(rows, columns):
        y[i : i + 2 * height : 2, j : j + 2 * width : 2] += x @ kernel[i, j].T
    return y[1 : 1 + 2 * height, 1 : 1 + 2 * width] + bias


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_entries(rng, shapes, weight, bias):
    """Draws kernels and biases of layers.

    `shapes` maps a layer to its kernel's shape and its number of filters.
    """
    entries = {}
    for layer, (shape, filters) in shapes.items():
        scale = np.sqrt(filters / np.prod(shape))
        entries[f"{layer}{weight}"] = rng.normal(0, scale, shape)
        entries[f"{layer}{bias}"] = rng.normal(0, 0.1, filters)
    return {k: v.astype("float32") for k, v in entries.items()}


# --- DMPHN: PyTorch, kernels (out, in, height, width) -----------------------


def dmphn_files(rng, levels, stack, width):
    """Returns state dictionaries by the stems of the files."""
    w = (width, 2 * width, 4 * width)

    def conv(ins, outs):
        return (outs, ins, 3, 3), outs

    def block(*numbers, filters):
        return {
            f"layer{n}.{k}": conv(filters, filters)
            for n in numbers
            for k in (0, 2)
        }

    encoder = {
        "layer1": conv(3, w[0]),
        **block(2, 3, filters=w[0]),
        "layer5": conv(w[0], w[1]),
        **block(6, 7, filters=w[1]),
        "layer9": conv(w[1], w[2]),
        **block(10, 11, filters=w[2]),
    }
    decoder = {
        **block(13, 14, filters=w[2]),
        "layer16": ((w[2], w[1], 4, 4), w[1]),
        **block(17, 18, filters=w[1]),
        "layer20": ((w[1], w[0], 4, 4), w[0]),
        **block(21, 22, filters=w[0]),
        "layer24": conv(w[0], 3),
    }
    tags = [f"s{i}_" for i in range(1, stack + 1)] if stack > 1 else [""]
    return {
        f"{part}_{tag}lv{level}": random_entries(
            rng, shapes, ".weight", ".bias"
        )
        for tag in tags
        for level in range(1, levels + 1)
        for part, shapes in (("encoder", encoder), ("decoder", decoder))
    }


def dmphn(files, image, levels, stack):
    """Returns the answer to an image whose sides the network can cut."""
    sharp = image - 0.5
    first, previous = None, None
    for number in range(1, stack + 1):
        tag = f"s{number}_" if stack > 1 else ""
        sharp, previous = _hierarchy(files, tag, sharp, first, previous, levels)
        first = sharp if first is None else first
    return sharp + 0.5


def _hierarchy(files, tag, image, first, previous, levels):
    """Keeps maps whole, and cuts them for what sees patches."""
    features = {}
    residual = np.zeros_like(image)
    for level in range(levels, 0, -1):
        encoder = files[f"encoder_{tag}lv{level}"]
        decoder = files[f"decoder_{tag}lv{level}"]
        grid, larger = GRIDS[level - 1], GRIDS[max(level - 2, 0)]
        x = by_patch(lambda p, e=encoder: _encode(e, p), image + residual, grid)
        x = x + features.get(level + 1, 0)
        features[level] = x + (0 if previous is None else previous[level])
        residual = by_patch(
            lambda p, d=decoder: _decode(d, p), features[level], larger
        )
        if level == 2 and first is not None:
            residual = residual + first
    return residual, features


def by_patch(function, x, grid):
    """Applies a function to each patch and joins the results."""
    return np.concatenate(
        [
            np.concatenate(
                [function(patch) for patch in np.split(band, grid[1], axis=1)],
                axis=1,
            )
            for band in np.split(x, grid[0], axis=0)
        ],
        axis=0,
    )


def _torch_layer(entries, name, x, transposed=False, **kwargs):
    kernel = entries[f"{name}.weight"].astype("float64")
    kernel = np.moveaxis(kernel, (2, 3), (0, 1)).swapaxes(2, 3)
    apply = deconvolve if transposed else convolve
    return apply(x, kernel, entries[f"{name}.bias"], **kwargs)


def _dmphn_block(entries, name, x):
    y = relu(_torch_layer(entries, f"{name}.0", x))
    return x + _torch_layer(entries, f"{name}.2", y)


def _encode(entries, x):
    x = _torch_layer(entries, "layer1", x)
    for n in (2, 6, 10):
        if n > 2:
            x = _torch_layer(
                entries, f"layer{n - 1}", x, stride=2, padding=(1, 1)
            )
        x = _dmphn_block(entries, f"layer{n}", x)
        x = _dmphn_block(entries, f"layer{n + 1}", x)
    return x


def _decode(entries, x):
    for n in (13, 17, 21):
        x = _dmphn_block(entries, f"layer{n}", x)
        x = _dmphn_block(entries, f"layer{n + 1}", x)
        x = _torch_layer(entries, f"layer{n + 3}", x, transposed=n < 21)
    return x


# --- DeblurGAN: PyTorch -----------------------------------------------------


def deblurgan_entries(rng, width, blocks):
    w, w2, w4 = width, 2 * width, 4 * width
    shapes = {
        "model.1": ((w, 3, 7, 7), w),
        "model.4": ((w2, w, 3, 3), w2),
        "model.7": ((w4, w2, 3, 3), w4),
    }
    for i in range(10, 10 + blocks):
        for j in (1, 6):
            shapes[f"model.{i}.conv_block.{j}"] = (w4, w4, 3, 3), w4
    n = 10 + blocks
    shapes[f"model.{n}"] = (w4, w2, 3, 3), w2
    shapes[f"model.{n + 3}"] = (w2, w, 3, 3), w
    shapes[f"model.{n + 7}"] = (3, w, 7, 7), 3
    return random_entries(rng, shapes, ".weight", ".bias")


def deblurgan(entries, image, blocks):
    def layer(name, x, reflected=0, **kwargs):
        sides = [(reflected, reflected)] * 2 + [(0, 0)]
        x = np.pad(x, sides, mode="reflect")
        return _torch_layer(entries, name, x, **kwargs)

    def norm(x):
        mean, variance = x.mean((0, 1)), x.var((0, 1))
        return (x - mean) / np.sqrt(variance + 1e-5)

    none = (0, 0)
    x = relu(norm(layer("model.1", 2 * image - 1, 3, padding=none)))
    for n in (4, 7):
        x = relu(norm(layer(f"model.{n}", x, stride=2, padding=(1, 1))))
    for i in range(10, 10 + blocks):
        name = f"model.{i}.conv_block"
        y = relu(norm(layer(f"{name}.1", x, 1, padding=none)))
        x = x + norm(layer(f"{name}.6", y, 1, padding=none))
    for n in (10 + blocks, 13 + blocks):
        x = relu(norm(layer(f"model.{n}", x, transposed=True)))
    x = np.tanh(layer(f"model.{17 + blocks}", x, 3, padding=none))
    return (2 * image - 1 + x + 1) / 2


# --- SRN and PSS-SRN: TensorFlow 1, kernels (height, width, in, out) ---------


def srn_variables(rng, width, recurrent, channels):
    w = (width, 2 * width, 4 * width)
    shapes = {}

    def conv(name, ins, outs, size=5):
        shapes[name] = (size, size, ins, outs), outs

    for i in (1, 2, 3):
        conv(f"enc{i}_1", 2 * channels if i == 1 else w[i - 2], w[i - 1])
        for part in [f"enc{i}_{j}" for j in (2, 3, 4)] + [
            f"dec{i}_{j}" for j in (1, 2, 3)
        ]:
            for k in (1, 2):
                conv(f"{part}/conv{k}", w[i - 1], w[i - 1])
    for i in (1, 2):
        shapes[f"dec{i}_4"] = (4, 4, w[i - 1], w[i]), w[i - 1]
    conv("dec1_0", w[0], channels)
    if recurrent:
        conv("convLSTM/LSTM_conv", 8 * width, 16 * width, size=3)
    shapes = {f"g_net/{name}": shape for name, shape in shapes.items()}
    return random_entries(rng, shapes, "/weights", "/biases")


def srn(variables, image, recurrent):
    """Deblurs an image in color or gray whose sides are multiples of 16."""

    def conv(name, x, **kwargs):
        return _slim_layer(variables, name, x, **kwargs)

    sharp, cell, hidden = image[::4, ::4], 0, None
    for factor in (4, 2, 1):
        if factor < 4:
            sharp = enlarge(sharp)
            cell, hidden = (
                (enlarge(cell), enlarge(hidden)) if recurrent else (0, None)
            )
        x = np.concatenate([image[::factor, ::factor], sharp], axis=-1)
        skips = []
        for i in (1, 2, 3):
            strided = {"stride": 2, "padding": (1, 2)} if i > 1 else {}
            x = relu(conv(f"enc{i}_1", x, **strided))
            for j in (2, 3, 4):
                x = _slim_block(variables, f"enc{i}_{j}", x)
            skips.append(x)
        if recurrent:
            hidden = np.zeros_like(x) if hidden is None else hidden
            gates = conv(
                "convLSTM/LSTM_conv", np.concatenate([x, hidden], axis=-1)
            )
            i, j, f, o = np.split(gates, 4, axis=-1)
            cell = cell * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
            x = hidden = np.tanh(cell) * sigmoid(o)
        for i in (3, 2, 1):
            if i < 3:
                x = relu(_slim_layer(variables, f"dec{i}_4", x, True))
                x = x + skips[i - 1]
            for j in (3, 2, 1):
                x = _slim_block(variables, f"dec{i}_{j}", x)
        sharp = conv("dec1_0", x)
    return sharp


def psssrn_variables(rng, width):
    w = (width, 2 * width, 4 * width)
    shapes = {}
    for i in (1, 2, 3):
        for part in (f"enc{i}_2", f"dec{i}_2"):
            for d in (1, 2, 3, 4):
                for k in (1, 2):
                    shapes[f"{part}/d{d}/conv{k}"] = (
                        (3, 3, w[i - 1], w[i - 1]),
                        w[i - 1],
                    )
    for s in (0, 1, 2):
        shapes[f"enc1_1_{s}"] = (3, 3, 2, w[0]), w[0]
        for i in (1, 2):
            shapes[f"enc{i + 1}_1_{s}"] = (3, 3, w[i - 1], w[i]), w[i]
            shapes[f"dec{i}_3_{s}"] = (4, 4, w[i - 1], w[i]), w[i - 1]
        shapes[f"dec1_0_{s}"] = (3, 3, w[0], 1), 1
    shapes = {f"g_net/{name}": shape for name, shape in shapes.items()}
    return random_entries(rng, shapes, "/weights", "/biases")


def psssrn(variables, image):
    """Deblurs a gray image whose sides are multiples of 16."""

    def block(part, x):
        """Applies two of the authors' blocks, which nest their sums."""
        for _ in range(2):
            nets = [x]
            for d in (1, 2, 3, 4):
                y, name = sum(nets), f"{part}/d{d}"
                y = relu(_slim_layer(variables, f"{name}/conv1", y))
                nets.append(_slim_layer(variables, f"{name}/conv2", y))
            x = sum(nets)
        return x

    sharp = image[::4, ::4]
    for s, factor in enumerate((4, 2, 1)):
        blurred = image[::factor, ::factor]
        sharp = sharp if s == 0 else enlarge(sharp)
        x = np.concatenate([blurred, sharp], axis=-1)
        skips = []
        for i in (1, 2, 3):
            strided = {"stride": 2, "padding": (0, 1)} if i > 1 else {}
            x = relu(_slim_layer(variables, f"enc{i}_1_{s}", x, **strided))
            x = block(f"enc{i}_2", x)
            skips.append(x)
        x = block("dec3_2", x)
        for i in (2, 1):
            x = relu(_slim_layer(variables, f"dec{i}_3_{s}", x, True))
            x = block(f"dec{i}_2", x + skips[i - 1])
        sharp = _slim_layer(variables, f"dec1_0_{s}", x) + blurred
    return sharp


def _slim_layer(variables, name, x, transposed=False, **kwargs):
    kernel = variables[f"g_net/{name}/weights"].astype("float64")
    bias = variables[f"g_net/{name}/biases"]
    apply = deconvolve if transposed else convolve
    return apply(x, kernel, bias, **kwargs)


def _slim_block(variables, name, x):
    y = relu(_slim_layer(variables, f"{name}/conv1", x))
    return x + _slim_layer(variables, f"{name}/conv2", y)


def enlarge(x):
    """Resizes as TensorFlow 1: pixel i comes from place i / 2."""
    for axis in (0, 1):
        count = x.shape[axis]
        places = np.arange(2 * count) / 2
        x = np.apply_along_axis(
            lambda line, at=places: np.interp(at, np.arange(len(line)), line),
            axis,
            x,
        )
    return x
