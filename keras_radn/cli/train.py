import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn train`."""
    parser = commands.add_parser(
        "train",
        help="train a network (needs keras-radn[train])",
        description="Trains a network, or goes on with an interrupted run of "
        "the same output folder.",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="TOML file, or the name of a packaged one: "
        f"{', '.join(sorted(_packaged()))}",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER")
    for name, text in (
        ("stills", "folder of sharp photographs to blur"),
        ("pairs", "folder of real pairs in blur/ and sharp/"),
        ("validation", "folder of real pairs to validate on"),
    ):
        parser.add_argument(f"--{name}", metavar="FOLDER", help=text)
    parser.add_argument("--steps", type=int, help="steps of the whole run")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn train`; see `main` for the exit status."""
    # Here, not above: the other commands do not need the extra.
    from keras_radn.training import TrainingConfig, train

    config = TrainingConfig.from_toml(
        _packaged().get(options.config, options.config),
        stills=options.stills,
        pairs=options.pairs,
        validation=options.validation,
        steps=options.steps,
    )
    train(config, options.output)
    return 0


def _packaged():
    folder = Path(__file__).parents[1] / "training" / "configs"
    return {path.stem: path for path in folder.glob("*.toml")}
