"""Options on the network and its ensembles, which several commands have."""

import argparse
from typing import TYPE_CHECKING

from keras_radn.models.presets import DEFAULT_PRESET, DTYPES, RADN_PRESETS

if TYPE_CHECKING:
    import keras

    from keras_radn.inference import Deblurrer


def add_model_arguments(
    parser: argparse.ArgumentParser,
) -> argparse._MutuallyExclusiveGroup:
    """Adds `--preset NAME` and `--model FILE`.

    Returns:
        The group of these options, one of which can be given.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--preset",  # without a default, which could not exclude --model
        choices=[
            n for n, preset in RADN_PRESETS.items() if "weights" in preset
        ],
        help=f"a network with packaged weights (default: {DEFAULT_PRESET})",
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
        help="what is corrected at 4 scales: better for short blurs, 8 to 10 "
        "times slower",
    )


def add_dtype_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--dtype`, which `make_deblurrer` heeds."""
    parser.add_argument(
        "--dtype",
        choices=("auto", *DTYPES),
        default="auto",
        help="what is computed in; auto: bfloat16, which is faster and looks "
        "the same, if the processor has instructions for it",
    )


def make_deblurrer(
    options: argparse.Namespace, overlap: int | None = None
) -> "Deblurrer":
    """The `Deblurrer` of the options above and of `--tile`.

    Args:
        options: of the command.
        overlap: see `Deblurrer`.

    Raises:
        FileNotFoundError: if there is no such model file.
        ValueError: if it is not a model of images, or computes in another
            dtype.
    """
    from keras_radn.inference import Deblurrer

    return Deblurrer(
        chosen_model(options),
        dtype=options.dtype,
        ensemble=options.ensemble,
        multi_scale=options.multi_scale,
        tile=options.tile,
        overlap=overlap,
    )


def chosen_model(options: argparse.Namespace) -> "keras.Model | str":
    """The model of `--model`, or else the name of a preset.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a Keras model that can be loaded, or does not
            map images to images.
    """
    if options.model is None:
        return options.preset or DEFAULT_PRESET

    from keras_radn.inference.model_file import read_model
    from keras_radn.inference.network import check_network

    model = read_model(options.model)
    try:
        check_network(model)
    except ValueError as error:
        raise ValueError(f"{options.model}: {error}") from None
    return model


def load_model(options: argparse.Namespace) -> "keras.Model":
    """The model that `chosen_model` names, built if that is a preset."""
    from keras_radn.models import RADN

    model = chosen_model(options)
    if isinstance(model, str):
        return RADN.from_preset(model, pretrained=True)
    return model
