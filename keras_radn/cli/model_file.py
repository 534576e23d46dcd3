"""Options on the network and its ensembles, which several commands have."""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import keras

from keras_radn.inference.deblur import DEFAULT_PRESET, for_inference
from keras_radn.models import RADN, inference_model
from keras_radn.models.packaged_weights import packaged_presets


def add_model_arguments(
    parser: argparse.ArgumentParser,
) -> argparse._MutuallyExclusiveGroup:
    """Adds `--preset NAME` and `--model FILE`.

    Returns:
        The group of options of which one can be given.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        choices=packaged_presets(RADN),
        help="a network with packaged weights (default: %(default)s)",
    )
    group.add_argument(
        "--model", metavar="FILE", help="a .keras file to use in its place"
    )
    return group


def add_ensemble_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--ensemble` and `--multi-scale`."""
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over 8 orientations (Final+): a little better, 8 times "
        "slower",
    )
    parser.add_argument(
        "--multi-scale",
        action="store_true",
        help="what is corrected at 4 scales: better, most of all for short "
        "blurs, 8 to 9 times slower",
    )


def load_model(options: argparse.Namespace) -> keras.Model:
    """The model of `--model`, or else of `--preset`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Keras model that can be loaded.
    """
    path = options.model
    if path is None:
        return RADN.from_preset(options.preset, pretrained=True)
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


def load_network(options: argparse.Namespace) -> Callable:
    """As `load_model`, for inference only.

    A RADN computes in `options.dtype` (see `inference_model`); other models
    have a dtype of their own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Keras model that can be loaded.
    """
    if options.model is None:
        return inference_model(options.preset, options.dtype)
    return for_inference(load_model(options), options.dtype)
