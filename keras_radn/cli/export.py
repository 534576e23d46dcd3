import argparse
from pathlib import Path

from keras_radn.cli.messages import CommandLineError
from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.option_types import image_size, integer, number

# Which format an option belongs to, by its name and default.
_OPTIONS = {
    "saved_model": {"version": None, "max_megapixels": None, "warmup": True},
    "litert": {"precision": None, "size": None, "calibration": None},
    "onnx": {"deform_conv": False},
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn export`."""
    parser = commands.add_parser(
        "export",
        help="write a network for TF-Serving, LiteRT or ONNX",
        description="Writes a network for another runtime, loads what was "
        "written, compares it with the network and prints the difference. "
        "Nothing is kept if it is too large.",
    )
    parser.add_argument(
        "--format", required=True, choices=tuple(_OPTIONS), help="what to write"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        help="a .tflite or .onnx file; for saved_model the folder of the "
        "numbered versions",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace an existing file or version",
    )
    _add_saved_model_arguments(parser)
    _add_litert_arguments(parser)
    group = parser.add_argument_group("onnx (needs keras-radn[onnx])")
    group.add_argument(
        "--deform-conv",
        action="store_true",
        help="use the operator DeformConv (opset 22) in place of gathering",
    )
    parser.set_defaults(check=check, run=run)


def _add_saved_model_arguments(parser):
    group = parser.add_argument_group("saved_model")
    group.add_argument(
        "--version",
        type=integer(1, 2**63 - 1),  # as in TF-Serving
        metavar="N",
        help="number of the version (default: the next one)",
    )
    group.add_argument(
        "--max-megapixels",
        type=number(1e-6, 10_000),
        metavar="N",
        help="larger images are refused by the server (default: 6)",
    )
    group.add_argument(
        "--no-warmup",
        dest="warmup",
        action="store_false",
        help="leave out the warm-up requests (which need keras-radn[serve])",
    )


def _add_litert_arguments(parser):
    group = parser.add_argument_group("litert (needs keras-radn[litert])")
    group.add_argument(
        "--precision",
        choices=("float32", "float16", "dynamic", "int8"),
        help="of weights and, for int8, activations (default: float32)",
    )
    group.add_argument(
        "--size",
        type=image_size,
        metavar="WxH",
        help="a fixed size of the images (default: any)",
    )
    group.add_argument(
        "--calibration",
        metavar="FOLDER",
        help="pictures to calibrate int8 on, like those to be deblurred",
    )


def check(options: argparse.Namespace) -> None:
    """Raises a CommandLineError for an option of another format."""
    for format_, defaults in _OPTIONS.items():
        for name, default in defaults.items():
            given = getattr(options, name) != default
            if given and format_ != options.format:
                flag = "no-warmup" if name == "warmup" else name
                raise CommandLineError(
                    f"--{flag.replace('_', '-')} goes with --format {format_} "
                    f"only. Received: --format {options.format}"
                )


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn export`; see `main` for the exit status."""
    from keras_radn import export

    arguments = {
        name: getattr(options, name)
        for name, default in _OPTIONS[options.format].items()
        if getattr(options, name) != default
    }
    if "size" in arguments:
        arguments["size"] = arguments["size"][::-1]  # height and width
    if "max_megapixels" in arguments:
        arguments["max_pixels"] = round(arguments.pop("max_megapixels") * 1e6)
    write = getattr(export, options.format)
    model = load_model(options)
    print(write(model, Path(options.output), force=options.force, **arguments))
    return 0
