"""Weights in the files of the networks' authors."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from keras_radn import hooks
from keras_radn.peers.deblurgan import DeblurGANGenerator
from keras_radn.peers.dmphn import DMPHN
from keras_radn.peers.peer_network import PeerNetwork
from keras_radn.peers.psssrn import PSSSRN
from keras_radn.peers.srn import SRN

# Networks whose authors' weights can be read; MSCNN's are a file of Torch 7,
# SVRNN's of a changed Caffe.
CONVERTIBLE = (DMPHN, SRN, PSSSRN, DeblurGANGenerator)

# Where the authors' TensorFlow graphs have their variables.
_SCOPE = "g_net/"
# What PyTorch counts beside the weights.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def load_published(model: PeerNetwork, source: str | os.PathLike) -> None:
    """Loads weights that the authors of a network published.

    - `DMPHN`: a folder of `encoder_lv1.pkl`, `decoder_lv1.pkl` and so on, or
      `encoder_s1_lv1.pkl` of a stack; state dictionaries of PyTorch, for which
      torch must be installed.
    - `DeblurGANGenerator`: its file `latest_net_G.pth`, as well.
    - `SRN`, `PSSSRN`: a checkpoint of TensorFlow 1: its folder, or its path
      without `.index`.

    Nothing is loaded if anything is missing or does not fit.

    Args:
        model: the network.
        source: path of the files.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ImportError: if torch is needed and missing.
        ValueError: if nothing is known of such a network's files, they cannot
            be read, or an entry is missing, too much, or of another shape.

    Example:

    ```python
    from keras_radn import peers

    model = peers.SRN(recurrent=False)
    peers.load_published(model, "checkpoints/color")
    ```
    """
    source = Path(source)
    convolutions = [
        layer
        for layer in hooks.flatten_layers(model, include_self=False)
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose)
    ]
    if isinstance(model, DMPHN):
        entries = _read_dmphn(source, convolutions)
    elif isinstance(model, DeblurGANGenerator):
        entries = _read_state_dictionary(source)
    elif isinstance(model, SRN | PSSSRN):
        entries = _read_checkpoint(source)
    else:
        raise ValueError(
            "Published weights can be read of "
            f"{', '.join(kind.__name__ for kind in CONVERTIBLE)} only. "
            f"Received: {type(model).__name__}"
        )
    values = []
    for layer in convolutions:
        for variable, kind in ((layer.kernel, "weight"), (layer.bias, "bias")):
            entry = _entry(model, layer.name, kind)
            if entry not in entries:
                raise ValueError(
                    f"{source}: has no entry {entry!r}, which "
                    f"{_description(model)} needs; take the authors' files of "
                    "this network."
                )
            array = entries.pop(entry)
            if array.shape != tuple(variable.shape):
                raise ValueError(
                    f"{source}: the entry {entry!r} must have the shape "
                    f"{tuple(variable.shape)} in Keras's order for "
                    f"{_description(model)}. Received: {array.shape}"
                )
            values.append((variable, array))
    if entries:
        raise ValueError(
            f"{source}: has the entry {min(entries)!r}, for which "
            f"{_description(model)} has no place; name the network that the "
            "files are of."
        )
    for variable, array in values:
        variable.assign(array)


def _description(model):
    architecture = model.architecture().items()
    arguments = ", ".join(f"{key}={value!r}" for key, value in architecture)
    return f"{type(model).__name__}({arguments})"


def _entry(model, layer, kind):
    if isinstance(model, DMPHN | DeblurGANGenerator):
        return f"{layer}.{kind}"
    plural = {"weight": "weights", "bias": "biases"}[kind]
    return f"{_SCOPE}{layer.replace('.', '/')}/{plural}"


def _read_dmphn(folder, convolutions: Iterable[keras.layers.Layer]):
    """Entries of the files of a folder, with the stems of the files."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: there is no such folder of encoder_lv1.pkl and others."
        )
    needed = {layer.name.partition(".")[0] for layer in convolutions}
    entries = {}
    for stem in sorted(needed):
        path = folder / f"{stem}.pkl"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder}: has no file {path.name}, which the network needs."
            )
        for name, array in _read_state_dictionary(path).items():
            entries[f"{stem}.{name}"] = array
    for path in sorted(folder.glob("*coder_*.pkl")):
        if path.stem not in needed:
            raise ValueError(
                f"{folder}: has a file {path.name}, for which the network has "
                "no place; name the network that the files are of."
            )
    return entries


def _read_state_dictionary(path):
    """Arrays of a PyTorch file, kernels in Keras's order of the axes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Files of PyTorch need torch: pip install 'keras-radn[convert]'."
        ) from error
    try:
        # Nothing but tensors: such files can hold code.
        content = torch.load(path, map_location="cpu", weights_only=True)
        arrays = {
            name: tensor.numpy()
            for name, tensor in content.items()
            if not name.endswith(_STATISTICS)
        }
    except Exception as error:  # torch, pickle and zipfile raise many kinds
        raise ValueError(
            f"{path}: is not a state dictionary of PyTorch that can be read "
            f"({type(error).__name__})."
        ) from error
    return {name: in_keras_order(array) for name, array in arrays.items()}


def in_keras_order(array: np.ndarray) -> np.ndarray:
    """A PyTorch weight with its axes in the order of Keras.

    Args:
        array: of a convolution `(out, in, height, width)`, of a transposed one
            `(in, out, height, width)`, or a bias.
    """
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _read_checkpoint(path):
    """The network's variables in a checkpoint of TensorFlow 1."""
    try:
        import tensorflow as tf  # whatever the backend of Keras
    except ImportError as error:
        raise ImportError(
            f"{path}: only TensorFlow reads its checkpoints; install it."
        ) from error
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(path))
    if not (path.is_dir() or Path(f"{prefix}.index").is_file()):
        raise FileNotFoundError(
            f"{path}: there is no such checkpoint of TensorFlow."
        )
    try:
        reader = tf.train.load_checkpoint(prefix)
        return {
            name: reader.get_tensor(name)
            for name in reader.get_variable_to_shape_map()
            # Not the state of the optimizer.
            if name.startswith(_SCOPE) and name.endswith(("weights", "biases"))
        }
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"{path}: is not a checkpoint of TensorFlow that can be read "
            f"({type(error).__name__})."
        ) from error
