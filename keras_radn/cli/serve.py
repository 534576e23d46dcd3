import argparse
import functools
import gc
import sys
import tempfile
from pathlib import Path

from keras_radn.cli.messages import say
from keras_radn.cli.network_options import add_model_arguments, load_model
from keras_radn.cli.option_types import integer, number
from keras_radn.system.interruption import on_sigterm

# Name, type, default and help of the options that are numbers. The largest body
# is below gRPC's own bound of 2^31 bytes.
_NUMBERS = (
    ("rest-port", integer(0, 65535), 8501, "0 takes a free one and prints it"),
    ("grpc-port", integer(0, 65535), 8500, "0 takes a free one and prints it"),
    (
        "workers",
        integer(1, 256),
        1,
        "requests computed at a time, each on all cores",
    ),
    (
        "queue-length",
        integer(0, 10_000),
        16,
        "requests that may wait; more get a 503",
    ),
    (
        "timeout",
        number(0.001, 86_400),
        30,
        "seconds for a request; later it gets a 504",
    ),
    (
        "max-body-megabytes",
        number(0.001, 2000),
        32,
        "of a request; larger get a 413",
    ),
    (
        "max-megapixels",
        number(0.001, 10_000),
        6,
        "of a request; larger get a 413",
    ),
    (
        "poll-seconds",
        number(0.01, 86_400),
        1,
        "between two looks for new versions",
    ),
    (
        "drain-seconds",
        number(0, 86_400),
        30,
        "for running requests after SIGTERM",
    ),
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn serve`."""
    parser = commands.add_parser(
        "serve",
        help="serve exported models (needs keras-radn[serve])",
        description="Serves SavedModels over REST and gRPC as TF-Serving does, "
        "for machines without it. New versions are loaded as they appear.",
    )
    models = add_model_arguments(parser)
    models.add_argument(
        "--model-base-path",
        metavar="DIR",
        help="folder that holds a folder per version: DIR/1, DIR/2",
    )
    models.add_argument(
        "--model-config-file",
        metavar="FILE",
        help="TF-Serving's configuration of several models, policies and "
        "labels; read again when it changes",
    )
    parser.add_argument(
        "--model-name",
        default="radn",
        metavar="NAME",
        help="of --model-base-path (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; there is no authentication and no TLS, so "
        "leave others to a proxy (default: %(default)s)",
    )
    for name, kind, default, text in _NUMBERS:
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn serve`; see `main` for the exit status."""
    from keras_radn import serving

    server_options = serving.ServerOptions(
        host=options.host,
        rest_port=options.rest_port,
        grpc_port=options.grpc_port,
        workers=options.workers,
        queue_length=options.queue_length,
        timeout=options.timeout,
        max_body=round(options.max_body_megabytes * 1e6),
        max_pixels=round(options.max_megapixels * 1e6),
        poll_seconds=options.poll_seconds,
        drain_seconds=options.drain_seconds,
    )
    if options.model_config_file:
        read = functools.partial(serving.read_config, options.model_config_file)
        with on_sigterm(_leave):
            serving.serve(read(), server_options, read)
        return 0
    with (
        on_sigterm(_leave),
        tempfile.TemporaryDirectory(prefix="keras-radn-") as folder,
    ):
        base = options.model_base_path
        if base is None:
            base = Path(folder, "radn")  # the name may hold slashes
            _export(options, base)
        config = serving.single_model(options.model_name, base)
        serving.serve(config, server_options)
    return 0


def _leave(number, frame):
    """Ends the process at a signal before the server handles signals itself."""
    sys.exit(0)


def _export(options, base):
    from keras_radn import export

    say(
        "exporting the network first; --model-base-path serves what "
        "`keras-radn export` wrote"
    )
    export.saved_model(
        load_model(options),
        base,
        max_pixels=round(options.max_megapixels * 1e6),
    )
    gc.collect()  # the network itself is not needed any more
