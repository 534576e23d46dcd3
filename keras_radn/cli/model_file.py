"""The option `--model`, which several commands have."""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import keras

from keras_radn.inference.deblur import default_model, for_inference
from keras_radn.models import RADN


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--model FILE`."""
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="a .keras file to use in place of the packaged weights",
    )


def load_model(path: str | None) -> keras.Model:
    """The model of a `.keras` file; `None` is the packaged network.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Keras model that can be loaded.
    """
    if path is None:
        return RADN(pretrained=True)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such model file.")
    try:
        with warnings.catch_warnings():
            # The state of the optimizer is of no use here.
            warnings.filterwarnings("ignore", "Skipping variable loading")
            return keras.models.load_model(path, compile=False)
    except Exception as error:  # zipfile, h5py and Keras raise many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path}: is no Keras model that can be loaded: {reason}"
        ) from error


def load_network(path: str | None, dtype: str) -> Callable:
    """As `load_model`, for inference only.

    Args:
        path: of a `.keras` file; `None` is the packaged network.
        dtype: what a RADN computes in; see `inference_model`. Other models
            have a dtype of their own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Keras model that can be loaded.
    """
    if path is None:
        return default_model(dtype)
    return for_inference(load_model(path), dtype)
