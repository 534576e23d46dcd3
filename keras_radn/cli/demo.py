import argparse

from keras_radn.cli.model_file import add_model_argument, load_model


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn demo`."""
    parser = commands.add_parser(
        "demo",
        help="a page to try it in the browser (needs keras-radn[demo])",
        description="Serves a page on which photographs are deblurred. It "
        "asks for nothing from elsewhere; pictures are kept until the command "
        "ends, the last 8 of them.",
    )
    add_model_argument(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; there is no authentication, so that "
        "another one is for networks whose users you trust (default: "
        "%(default)s)",
    )
    for name, kind, default, text in (
        ("port", int, 7860, "0 takes a free one and prints it"),
        ("max-megabytes", float, 64, "refuse larger files"),
        ("max-megapixels", float, 24, "refuse larger pictures"),
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
    # Here, not above: the other commands do not need the extra.
    from keras_radn import demo

    for name, least, most in (
        ("port", 0, 65535),
        ("max_megabytes", 0.001, 2000),
        ("max_megapixels", 0.001, 10_000),
    ):
        if not least <= getattr(options, name) <= most:
            raise ValueError(
                f"--{name.replace('_', '-')} has to be from {least} to {most}. "
                f"Received: {getattr(options, name)}."
            )
    demo.serve(
        load_model(options.model),
        demo.DemoOptions(
            host=options.host,
            port=options.port,
            max_bytes=round(options.max_megabytes * 1e6),
            max_pixels=round(options.max_megapixels * 1e6),
        ),
    )
    return 0
