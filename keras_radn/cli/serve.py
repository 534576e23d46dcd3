import argparse
import functools
import gc
import sys
import tempfile
from pathlib import Path

from keras_radn.cli.messages import say
from keras_radn.cli.model_file import add_model_arguments, load_model
from keras_radn.cli.numbers import Number, add_numbers, check_numbers
from keras_radn.cli.signals import on_sigterm

# The largest body is below gRPC's own bound of 2^31 bytes.
_NUMBERS = (
    Number(
        "rest-port", int, 8501, 0, 65535, "0 takes a free one and prints it"
    ),
    Number(
        "grpc-port", int, 8500, 0, 65535, "0 takes a free one and prints it"
    ),
    Number(
        "workers",
        int,
        1,
        1,
        256,
        "requests computed at a time, each on all cores",
    ),
    Number(
        "queue-length",
        int,
        16,
        0,
        10_000,
        "requests that may wait; more get a 503",
    ),
    Number(
        "timeout",
        float,
        30,
        0.001,
        86_400,
        "seconds for a request; later it gets a 504",
    ),
    Number(
        "max-body-megabytes",
        float,
        32,
        0.001,
        2000,
        "of a request; larger get a 413",
    ),
    Number(
        "max-megapixels",
        float,
        6,
        0.001,
        10_000,
        "of a request; larger get a 413",
    ),
    Number(
        "poll-seconds",
        float,
        1,
        0.01,
        86_400,
        "between two looks for new versions",
    ),
    Number(
        "drain-seconds",
        float,
        30,
        0,
        86_400,
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
    add_numbers(parser, _NUMBERS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn serve`; see `main` for the exit status."""
    # Here, not above: the other commands do not need the extra.
    from keras_radn import serving

    check_numbers(options, _NUMBERS)
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
            base = Path(folder, options.model_name)
            _export(options, base)
        config = serving.single_model(options.model_name, base)
        serving.serve(config, server_options)
    return 0


def _leave(number, frame):
    """Until the server listens, which takes signals itself."""
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
