import argparse
import os
import sys
from pathlib import Path

from keras_radn.cli.messages import say

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
        "--strategy",
        metavar="NAME",
        help="mirrored: all GPUs of this machine; multi-worker: the machines "
        "of TF_CONFIG, each of which runs this command on a shared folder",
    )
    parser.add_argument(
        "--max-restarts",
        type=int,
        default=3,
        metavar="N",
        help="of multi-worker: how often to go on from the last checkpoint "
        "after another machine was lost (default: %(default)s)",
    )
    parser.set_defaults(run=run)


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
        type=int,
        help="steps of the whole run, more than the first step of the "
        "configuration's last part",
    )


def make_config(options: argparse.Namespace, **overrides):
    """The `TrainingConfig` of the options, and of values that replace its."""
    # Here, not above: the other commands do not need the extra.
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
    config = make_config(options, preset=options.preset)

    import tensorflow as tf

    from keras_radn.training import make_strategy, train

    # What a process sees when another one of its cluster dies or starts again.
    lost = (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.UnavailableError,
    )
    try:
        train(config, options.output, make_strategy(options.strategy))
    except lost as error:
        if options.strategy != "multi-worker":
            raise
        _go_on(options.max_restarts, error)
    return 0


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
