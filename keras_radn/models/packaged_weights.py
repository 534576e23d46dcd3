"""Weights that come with the package, or from a file or address.

A file is a NumPy archive (`.npz`) of arrays named by the paths of the
model's variables. Kernels are float16, or float32 where no bit is to be lost;
vectors (biases, batch norm) float32.
"""

import hashlib
import io
import os
from pathlib import Path

import keras
import numpy as np

from keras_radn.files import written_beside
from keras_radn.models.deblurring_model import variables_by_path

_FOLDER = Path(__file__).parent / "data"


def load_pretrained(
    model: keras.Model, source: bool | str | os.PathLike
) -> None:
    """Loads deblurring weights into a model.

    Args:
        model: an instance of a class with `presets` and `architecture()`.
        source: `True`: the packaged weights whose preset has the model's
            architecture; a path: a file of `write_weights`; an address with
            `://`: such a file, which `keras.utils.get_file` downloads once.
            An address may end in `#sha256=` and the hexadecimal SHA-256 that
            the file must have.

    Raises:
        ValueError: if no packaged weights fit the architecture, the file is
            not the one that was released or of another architecture, or the
            download fails.
        FileNotFoundError: if there is no such file.
    """
    if source is True:
        _load_packaged(model)
    elif "://" in str(source):
        read_weights(model, _download(str(source)))
    elif not Path(source).is_file():
        raise FileNotFoundError(f"There is no weights file {str(source)!r}.")
    else:
        read_weights(model, source)


def _download(address):
    address, _, sha256 = address.partition("#sha256=")
    try:
        return keras.utils.get_file(
            origin=address,
            # Files of one name from several addresses are several files.
            fname=f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.npz",
            cache_subdir="keras_radn",
            file_hash=sha256 or None,
            hash_algorithm="sha256",
        )
    except Exception as error:  # urllib and Keras raise many kinds
        raise ValueError(
            f"{address} could not be downloaded ({error}). Check the address, "
            "or download it by other means and pass its path."
        ) from error


def _load_packaged(model):
    for preset in model.presets.values():
        if "weights" in preset and _fits(model, preset["config"]):
            weights = preset["weights"]
            read_weights(model, _FOLDER / weights["file"], weights["sha256"])
            return
    raise ValueError(
        "pretrained=True needs packaged weights, which exist for "
        f"{', '.join(packaged_presets(type(model)))} only; leave it out, or "
        "pass load_weights=False to from_preset. "
        f"Received: {model.architecture()}"
    )


def read_preset(
    model_class: type[keras.Model], name: str
) -> tuple[dict, dict[str, np.ndarray]]:
    """Architecture and packaged weights of a preset, without a model.

    Args:
        model_class: a class with `presets` and their `defaults`.
        name: of the preset.

    Returns:
        The architecture (and what else the preset says), and arrays by the
        paths of the variables.

    Raises:
        ValueError: if there is no such preset, it has no packaged weights, or
            their file is not the one that was released.
        FileNotFoundError: if the file is missing from the installation.
    """
    preset = model_class.presets.get(name, {})
    if "weights" not in preset:
        raise ValueError(
            "Packaged weights exist for the presets "
            f"{', '.join(packaged_presets(model_class))} only. "
            f"Received: {name!r}"
        )
    weights = preset["weights"]
    return (
        {**model_class.defaults, **preset["config"]},
        _read(_FOLDER / weights["file"], weights["sha256"]),
    )


def packaged_presets(model_class: type[keras.Model]) -> list[str]:
    """Names of the presets of a class that have packaged weights."""
    return [n for n, p in model_class.presets.items() if "weights" in p]


def _fits(model, config):
    arguments = {**type(model).defaults, **config}
    return all(
        arguments[name] == value for name, value in model.architecture().items()
    )


def read_weights(
    model: keras.Model, path: str | os.PathLike, sha256: str | None = None
) -> None:
    """Assigns the arrays of a weights file to the variables of a model.

    Args:
        model: the model; all or none of its variables are assigned.
        path: a file written by `write_weights`.
        sha256: expected SHA-256 of the file, hexadecimal.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the SHA-256 differs or the arrays are not those of the
            model.
    """
    arrays = _read(path, sha256)
    variables = variables_by_path(model)
    if arrays.keys() != variables.keys() or any(
        arrays[name].shape != tuple(v.shape) for name, v in variables.items()
    ):
        raise ValueError(
            f"{path} holds the weights of another architecture. Received: "
            f"{len(arrays)} arrays for a model of {len(variables)} variables; "
            "name the preset that was trained: from_preset(NAME, "
            f"pretrained={str(path)!r})."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _read(path, sha256):
    content = Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ValueError(
            f"{path} is damaged or not the released file: its SHA-256 is "
            f"{digest}, expected {sha256}. Install the package again."
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(
            f"{path} is not a weights file (.npz) that can be read: {error}"
        ) from error


def write_weights(
    model: keras.Model, path: str | os.PathLike, half: bool = True
) -> str:
    """Writes a weights file (beside, then renamed).

    Args:
        model: the model.
        path: where to write, ending in `.npz`.
        half: whether kernels are float16, else float32.

    Returns:
        The SHA-256 of the file, hexadecimal.
    """
    arrays = {}
    for name, variable in variables_by_path(model).items():
        array = keras.ops.convert_to_numpy(variable)
        is_kernel = array.ndim > 1
        dtype = "float16" if half and is_kernel else "float32"
        arrays[name] = array.astype(dtype)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with written_beside(path) as partial:
        partial.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()
