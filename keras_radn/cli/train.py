import argparse
import os
import signal
import sys
import time
from pathlib import Path

from keras_radn.cli.messages import CommandLineError, say
from keras_radn.cli.option_types import integer, number
from keras_radn.system.interruption import on_sigterm

_RESTARTS = "KERAS_RADN_RESTARTS"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn train`."""
    parser = commands.add_parser(
        "train",
        help="train a network (needs keras-radn[train])",
        description="Trains a network, or goes on with an interrupted run of "
        "the same output folder.",
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="variant in place of the configuration's, for example lite",
    )
    parser.add_argument(
        "--start",
        metavar="NAME",
        help="trained network that this one starts as: a .keras file, or a "
        "preset with packaged weights; a smaller one grows",
    )
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--workers",
        type=integer(1),
        metavar="N",
        help="processes that share the cores of a CPU; each takes a part of "
        "every batch, and their weights are averaged now and then",
    )
    many.add_argument(
        "--strategy",
        choices=("mirrored", "multi-worker"),
        help="mirrored: all GPUs of this machine; multi-worker: the machines "
        "of TF_CONFIG, each of which runs this command on a shared folder",
    )
    parser.add_argument(
        "--max-restarts",
        type=integer(0),
        default=3,
        metavar="N",
        help="of multi-worker: how often to go on from the last checkpoint "
        "after another machine was lost (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=number(0.1),
        metavar="N",
        help="time for all of it, from the start of the command, in place of "
        "--steps: the learning rate falls to zero over the last part of it, "
        "and the weights are written before it is over",
    )
    parser.set_defaults(check=check, run=run)


def check(options: argparse.Namespace) -> None:
    """Raises a CommandLineError for options that do not go together."""
    several = options.workers or options.strategy == "multi-worker"
    if options.minutes is not None and several:
        raise CommandLineError(
            "--minutes is for one process: each would end at another step; "
            "leave out --workers and --strategy multi-worker, or give --steps."
        )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make a `TrainingConfig`."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="TOML file, or the name of a packaged one: "
        f"{', '.join(sorted(_packaged()))}",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    for name, text in (
        ("gopro", "the GoPro set, which holds train/ and test/"),
        ("pairs", "folder of real pairs in blur/ and sharp/"),
        ("stills", "folder of sharp photographs to blur"),
        ("videos", "folder of videos whose frames are averaged"),
        ("validation", "folder of real pairs to validate on"),
    ):
        parser.add_argument(f"--{name}", metavar="FOLDER", help=text)
    parser.add_argument(
        "--encoder-weights",
        metavar="WEIGHTS",
        help="imagenet, random, or the path of a DenseNet-121 weights file",
    )
    parser.add_argument(
        "--steps",
        type=integer(1),
        help="steps of the whole run, more than the first step of the "
        "configuration's last part",
    )


def make_config(options: argparse.Namespace, **overrides):
    """The `TrainingConfig` of the options, with some values replaced."""
    from keras_radn.training import TrainingConfig

    return TrainingConfig.from_toml(
        _packaged().get(options.config, options.config),
        gopro=options.gopro,
        pairs=options.pairs,
        stills=options.stills,
        videos=options.videos,
        validation=options.validation,
        encoder_weights=options.encoder_weights,
        steps=options.steps,
        **overrides,
    )


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn train`; see `main` for the exit status."""
    config = make_config(options, preset=options.preset, start=options.start)

    from keras_radn.training import make_strategy, train, train_in_processes

    if options.workers is not None:
        # Handled as Ctrl-C, so that the processes end with this one.
        with on_sigterm(signal.default_int_handler):
            train_in_processes(config, options.output, options.workers)
        return 0

    if options.strategy == "multi-worker":
        _train_on_machines(config, options)
        return 0
    strategy = options.strategy and make_strategy(options.strategy)
    minutes = options.minutes
    if minutes is not None:
        import psutil

        minutes -= (time.time() - psutil.Process().create_time()) / 60
    train(config, options.output, strategy, minutes=minutes)
    return 0


def _train_on_machines(config, options):
    from keras_radn.training import make_strategy, train

    strategy = make_strategy(options.strategy)

    import tensorflow as tf

    # What a process sees when another one of its cluster dies or starts again.
    lost = (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.UnavailableError,
    )
    try:
        train(config, options.output, strategy)
    except lost as error:
        _go_on(options.max_restarts, error)


def _go_on(max_restarts, error):
    """Replaces this process by a new one of the same command."""
    restarts = int(os.environ.get(_RESTARTS, 0))
    if restarts >= max_restarts:
        raise ConnectionError(
            "Another machine of the cluster was lost; run the same command "
            "again to go on from the last checkpoint."
        ) from error
    say(
        "another machine of the cluster was lost; going on from the last "
        "checkpoint when it is back"
    )
    # TensorFlow cannot join a cluster a second time in one process.
    os.environ[_RESTARTS] = str(restarts + 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _packaged():
    folder = Path(__file__).parents[1] / "training" / "configs"
    return {path.stem: path for path in folder.glob("*.toml")}
