import argparse
from pathlib import Path

from keras_radn.cli.model_file import add_model_arguments, load_model
from keras_radn.cli.numbers import Number, add_numbers, check_numbers

# Which format an option belongs to, by its name and default.
_OPTIONS = {
    "saved_model": {"version": None, "max_megapixels": None, "warmup": True},
    "litert": {"precision": None, "size": None, "calibration": None},
    "onnx": {"deform_conv": False},
}

_NUMBERS = (
    Number(
        "max-megapixels",
        float,
        None,
        0,
        10_000,
        "larger images are refused by the server (default: 6)",
    ),
)


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

    group = parser.add_argument_group("saved_model")
    group.add_argument(
        "--version",
        type=int,
        metavar="N",
        help="number of the version (default: the next one)",
    )
    add_numbers(group, _NUMBERS)
    group.add_argument(
        "--no-warmup",
        dest="warmup",
        action="store_false",
        help="leave out the warm-up requests (which need keras-radn[serve])",
    )

    group = parser.add_argument_group("litert (needs keras-radn[litert])")
    group.add_argument(
        "--precision",
        choices=("float32", "float16", "dynamic", "int8"),
        help="of weights and, for int8, activations (default: float32)",
    )
    group.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="a fixed size of the images (default: any)",
    )
    group.add_argument(
        "--calibration",
        metavar="FOLDER",
        help="pictures to calibrate int8 on, like those to be deblurred",
    )

    group = parser.add_argument_group("onnx (needs keras-radn[onnx])")
    group.add_argument(
        "--deform-conv",
        action="store_true",
        help="use the operator DeformConv (opset 22) in place of gathering",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn export`; see `main` for the exit status."""
    # Here, not above: they import much that other commands do not need.
    from keras_radn import export

    for format_, defaults in _OPTIONS.items():
        for name, default in defaults.items():
            given = getattr(options, name) != default
            if given and format_ != options.format:
                flag = "no-warmup" if name == "warmup" else name
                raise ValueError(
                    f"--{flag.replace('_', '-')} goes with --format {format_} "
                    f"only. Received: --format {options.format}"
                )
    check_numbers(options, _NUMBERS)
    arguments = {
        name: getattr(options, name)
        for name, default in _OPTIONS[options.format].items()
        if getattr(options, name) != default
    }
    if "max_megapixels" in arguments:
        arguments["max_pixels"] = round(arguments.pop("max_megapixels") * 1e6)
    write = getattr(export, options.format)
    model = load_model(options)
    print(write(model, Path(options.output), force=options.force, **arguments))
    return 0


def _size(text):
    """Height and width of `WIDTHxHEIGHT`."""
    width, height = map(int, text.split("x"))
    return height, width
