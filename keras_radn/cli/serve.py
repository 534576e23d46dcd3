import argparse
import functools
import gc
import sys
import tempfile
from pathlib import Path

from keras_radn.cli.model_file import add_model_argument, load_model


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn serve`."""
    parser = commands.add_parser(
        "serve",
        help="serve exported models (needs keras-radn[serve])",
        description="Serves SavedModels over REST and gRPC as TF-Serving does, "
        "for machines without it. New versions are loaded as they appear.",
    )
    models = parser.add_mutually_exclusive_group()
    add_model_argument(models)
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
    for name, kind, default, text in (
        ("rest-port", int, 8501, "0 takes a free one and prints it"),
        ("grpc-port", int, 8500, "0 takes a free one and prints it"),
        ("workers", int, 1, "requests computed at a time, each on all cores"),
        ("queue-length", int, 16, "requests that may wait; more get a 503"),
        ("timeout", float, 30, "seconds for a request; later it gets a 504"),
        ("max-body-megabytes", float, 32, "of a request; larger get a 413"),
        ("max-megapixels", float, 6, "of a request; larger get a 413"),
        ("poll-seconds", float, 1, "between two looks for new versions"),
        ("drain-seconds", float, 30, "for running requests after SIGTERM"),
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
    """Runs `keras-radn serve`; see `main` for the exit status."""
    # Here, not above: the other commands do not need the extra.
    from keras_radn import serving

    for name, least, most in (
        ("rest_port", 0, 65535),
        ("grpc_port", 0, 65535),
        ("workers", 1, 256),
        ("queue_length", 0, 10_000),
        ("timeout", 0.001, 86_400),
        ("max_body_megabytes", 0.001, 2000),  # gRPC's own bound is 2^31
        ("max_megapixels", 0.001, 10_000),
        ("poll_seconds", 0.01, 86_400),
        ("drain_seconds", 0, 86_400),
    ):
        if not least <= getattr(options, name) <= most:
            raise ValueError(
                f"--{name.replace('_', '-')} has to be from {least} to {most}. "
                f"Received: {getattr(options, name)}."
            )
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
        serving.serve(read(), server_options, read)
        return 0
    with tempfile.TemporaryDirectory(prefix="keras-radn-") as folder:
        base = options.model_base_path
        if base is None:
            base = Path(folder, options.model_name)
            _export(options, base)
        config = serving.single_model(options.model_name, base)
        serving.serve(config, server_options)
    return 0


def _export(options, base):
    from keras_radn import export

    print(
        "keras-radn: exporting the network first; --model-base-path serves "
        "what `keras-radn export` wrote",
        file=sys.stderr,
    )
    export.saved_model(
        load_model(options.model),
        base,
        max_pixels=round(options.max_megapixels * 1e6),
    )
    gc.collect()  # the network itself is not needed any more
