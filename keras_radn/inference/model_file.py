import os
import warnings
import zipfile
from pathlib import Path

import keras

from keras_radn.inference.network import reason_of


def read_model(path: str | os.PathLike, compile: bool = False) -> keras.Model:
    """A model from a file of `keras.Model.save`.

    Args:
        path: of the file.
        compile: whether the optimizer and its state are read, too.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a Keras model that can be loaded; one sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such model file.")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: is damaged or cut short, or no .keras file at all; take "
            "another copy of it."
        )
    # Their classes are known to Keras from then on.
    import keras_radn.peers  # noqa: F401

    try:
        with warnings.catch_warnings():
            if not compile:  # the state of the optimizer is of no use
                warnings.filterwarnings("ignore", "Skipping variable loading")
            return keras.models.load_model(path, compile=compile)
    except Exception as error:  # zipfile, h5py and Keras raise many kinds
        raise ValueError(
            f"{path}: is not a Keras model that can be loaded: "
            f"{reason_of(error)}."
        ) from error
