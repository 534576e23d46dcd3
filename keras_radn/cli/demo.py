import argparse

from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.option_types import integer, number


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
    for name, kind, default, text in (
        ("port", integer(0, 65535), 7860, "0 takes a free one and prints it"),
        ("max-megabytes", number(0.001, 2000), 64, "refuse larger files"),
        ("max-megapixels", number(0.001, 10_000), 24, "refuse larger pictures"),
    ):
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn demo`; see `main` for the exit status."""
    from keras_radn import demo

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
