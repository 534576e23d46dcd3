import argparse

from keras_radn.cli.model_file import add_model_arguments, load_model
from keras_radn.cli.numbers import Number, add_numbers, check_numbers

_NUMBERS = (
    Number("port", int, 7860, 0, 65535, "0 takes a free one and prints it"),
    Number("max-megabytes", float, 64, 0.001, 2000, "refuse larger files"),
    Number(
        "max-megapixels", float, 24, 0.001, 10_000, "refuse larger pictures"
    ),
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn demo`."""
    parser = commands.add_parser(
        "demo",
        help="a page to try it in the browser (needs keras-radn[demo])",
        description="Serves a page on which photographs are deblurred. It "
        "asks for nothing from elsewhere; pictures are kept until the command "
        "ends, the last 8 of them.",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; there is no authentication, so that "
        "another one is for networks whose users you trust (default: "
        "%(default)s)",
    )
    add_numbers(parser, _NUMBERS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn demo`; see `main` for the exit status."""
    # Here, not above: the other commands do not need the extra.
    from keras_radn import demo

    check_numbers(options, _NUMBERS)
    demo.serve(
        load_model(options),
        demo.DemoOptions(
            host=options.host,
            port=options.port,
            max_bytes=round(options.max_megabytes * 1e6),
            max_pixels=round(options.max_megapixels * 1e6),
        ),
    )
    return 0
