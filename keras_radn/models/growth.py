"""A trained RADN inside of a larger one that computes the same.

Wherever a layer gets more filters, the old ones read the new channels by zeros,
and stay what they were; the new ones start at random. Norms are per channel.
"""

import numpy as np

from keras_radn.layers.context_aggregation import POOL_SIZES
from keras_radn.models.deblurring_model import variables_by_path
from keras_radn.models.radn import RADN

# What decides the operations, not their widths.
_FIXED = ("decoder_block", "attention", "attention_pool", "stem_pool")


def grow(model: RADN, **arguments) -> RADN:
    """Makes a larger network that computes exactly the same.

    The new parts start at random and are read by zeros, so that they change
    the output only as training goes on. Warm the learning rate up: an
    optimizer like Muon moves zeros at full speed from its first step.

    Args:
        model: a trained `RADN`, which stays as it is.
        **arguments: of `RADN`, which replace the model's: `encoder_units`,
            `growth_rate`, `stem_filters`, `transition_filters`,
            `decoder_filters`, `deform_units`, `deform_growth_rate`, none of
            them smaller than the model's, and `dtype`, `name`, `image_shape`
            and `attention_window`, which has no weights.

    Returns:
        A new model.

    Raises:
        ValueError: if an argument is smaller than the model's or changes the
            kind of network.
        TypeError: if `RADN` has no such argument.

    Example:

    ```python
    small = keras_radn.RADN.from_preset("lite")
    larger = keras_radn.models.grow(small, growth_rate=24, deform_units=3)
    ```

    Reference: Chen et al., Net2Net: Accelerating Learning via Knowledge
    Transfer, ICLR 2016.
    """
    old = model.architecture()
    config = model.get_config()
    kept = {name: config[name] for name in ("dtype", "image_shape")}
    grown = RADN(**{**kept, **old, **arguments})
    new = grown.architecture()
    for name in _FIXED:
        if new[name] != old[name]:
            raise ValueError(
                f"A network does not grow into one of another `{name}`. "
                f"Received: {new[name]!r} for a model of {old[name]!r}"
            )
    for name in old.keys() - set(_FIXED):
        if np.any(np.less(new[name], old[name])):
            raise ValueError(
                f"`{name}` must not be smaller than the model's. "
                f"Received: {new[name]!r} for a model of {old[name]!r}"
            )
    _Growth(model, grown).transfer()
    return grown


class _Growth:
    """Copies the weights layer by layer.

    Channels are pairs of the places of the old network's channels among the
    new one's, and the number of the latter.
    """

    def __init__(self, model, grown):
        self.old, self.new = model.architecture(), grown.architecture()
        self.source = variables_by_path(model)
        self.target = variables_by_path(grown)

    def transfer(self):
        x = self.conv("stem_conv", _start(12, 12), self.widths("stem_filters"))
        self.norm("stem_norm", x)
        skips = [x]
        for i in range(3):
            units = self.old["encoder_units"][i], self.new["encoder_units"][i]
            name = f"encoder_block{i + 1}"
            x = self.dense_block(name, x, units, self.widths("growth_rate"))
            name = f"encoder_transition{i + 1}"
            self.norm(f"{name}/norm", x)
            out = self.widths("transition_filters", i)
            x = self.conv(f"{name}/conv", x, out)
            skips.insert(0, x)
        if self.old["attention"]:
            self.attention(x)
        for i, skip in enumerate(skips[1:]):
            out = self.widths("decoder_filters", i)
            name = f"decoder_block{i + 1}"
            if self.old["decoder_block"] == "bottleneck":
                x = self.bottleneck(name, x, out)
            else:
                x = self.dense_module(name, x, out)
            if f"decoder_up{i + 1}/kernel" in self.source:
                x = self.deconvolution(f"decoder_up{i + 1}", x, out)
            x = _joined(x, skip)
        out = self.widths("decoder_filters", 3)
        x = self.deconvolution("decoder_up4", x, out)
        for size in POOL_SIZES:
            self.conv(f"context/pool{size}_conv", x, _start(1, 1))
        count = len(POOL_SIZES)
        x = _joined(x, _start(count, count))
        self.conv("reconstruction", x, _start(3, 3))

    def widths(self, name, *index):
        old, new = self.old[name], self.new[name]
        for i in index:
            old, new = old[i], new[i]
        return _start(old, new)

    # Layers: each takes the channels that it reads and returns its own.

    def conv(self, name, inputs, outputs, new_outputs_are_zero=False):
        kernel = self.target[f"{name}/kernel"].numpy()
        places = outputs[0]
        kernel[..., slice(None) if new_outputs_are_zero else places] = 0
        kernel[..., inputs[0][:, np.newaxis], places] = self.source[
            f"{name}/kernel"
        ].numpy()
        self.target[f"{name}/kernel"].assign(kernel)
        self.vectors(name, ("bias",), outputs)
        return outputs

    def deconvolution(self, name, inputs, outputs):
        # Filters before channels, as of all transposed convolutions.
        kernel = self.target[f"{name}/kernel"].numpy()
        kernel[:, :, outputs[0]] = 0
        kernel[..., outputs[0][:, np.newaxis], inputs[0]] = self.source[
            f"{name}/kernel"
        ].numpy()
        self.target[f"{name}/kernel"].assign(kernel)
        self.norm(f"{name}_norm", outputs)
        return outputs

    def norm(self, name, channels):
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        self.vectors(name, parts, channels)

    def vectors(self, name, parts, channels):
        for part in parts:
            if f"{name}/{part}" in self.source:
                vector = self.target[f"{name}/{part}"].numpy()
                vector[channels[0]] = self.source[f"{name}/{part}"].numpy()
                self.target[f"{name}/{part}"].assign(vector)

    def dense_block(self, name, x, units, growth):
        inner = [4 * width for width in (len(growth[0]), growth[1])]
        if self.old["decoder_block"] == "bottleneck" and "decoder" in name:
            inner = [4 * self.old["deform_growth_rate"]]
            inner.append(4 * self.new["deform_growth_rate"])
        for i in range(1, units[0] + 1):
            unit = f"{name}/unit{i}"
            self.norm(f"{unit}_bottleneck_norm", x)
            y = self.conv(f"{unit}_bottleneck_conv", x, _start(*inner))
            self.norm(f"{unit}_growth_norm", y)
            x = _joined(x, self.conv(f"{unit}_growth_conv", y, growth))
        return x[0], x[1] + (units[1] - units[0]) * growth[1]

    def attention(self, x):
        depths = _start(len(x[0]) // 8, x[1] // 8)
        self.conv("attention/b", x, depths)
        # Queries of zeros, or new keys would change the similarities.
        self.conv("attention/c", x, depths, new_outputs_are_zero=True)
        self.conv("attention/d", x, x)

    def bottleneck(self, name, x, out):
        growth = _start(
            self.old["deform_units"] * self.old["deform_growth_rate"],
            self.new["deform_units"] * self.new["deform_growth_rate"],
        )
        x = self.dense_block(name, x, (1, 1), growth)
        x = self.conv(f"{name}_reduction", x, out)
        self.norm(f"{name}_reduction_norm", x)
        return x

    def dense_module(self, name, x, out):
        growth = self.widths("deform_growth_rate")
        for i in range(1, self.old["deform_units"] + 1):
            unit = f"{name}/unit{i}"
            if self.old["decoder_block"] == "deformable":
                self.conv(f"{unit}/offset_conv", x, _start(18, 18))
            y = self.conv(unit, x, growth)
            self.norm(f"{unit}_norm", y)
            x = _joined(x, y)
        more = self.new["deform_units"] - self.old["deform_units"]
        x = self.conv(f"{name}/reduction", (x[0], x[1] + more * growth[1]), out)
        self.norm(f"{name}/reduction_norm", x)
        return x


def _start(old, new):
    return np.arange(old), new


def _joined(first, second):
    places = np.concatenate([first[0], first[1] + second[0]])
    return places, first[1] + second[1]
