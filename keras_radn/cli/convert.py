import argparse
from pathlib import Path

from keras_radn.cli.messages import CommandLineError, say
from keras_radn.cli.output_files import require_folders
from keras_radn.files import written_beside

_SUFFIXES = (".npz", ".keras")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn convert`."""
    parser = commands.add_parser(
        "convert",
        help="read the published weights of a competitor of the paper",
        description="Reads weights in the files of their authors: for dmphn "
        "the folder of encoder_lv1.pkl and others, for deblurgan "
        "latest_net_G.pth (both need keras-radn[convert]), for srn and pss_srn "
        "a checkpoint of TensorFlow 1, its folder or its path without .index. "
        "Writes a .keras file, which deblur, evaluate, export and serve take "
        "as --model, or a weights file (.npz).",
    )
    parser.add_argument(
        "network", metavar="NETWORK", help="for example stack4_dmphn"
    )
    parser.add_argument("source", metavar="SOURCE", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        type=Path,
        help="a .keras or .npz file to write",
    )
    parser.set_defaults(check=check, run=run)


def check(options: argparse.Namespace) -> None:
    """Refuses an output of another kind, or into no folder.

    Raises:
        CommandLineError: if it is not a .keras or .npz file.
        FileNotFoundError: if its folder is missing.
    """
    if options.output.suffix not in _SUFFIXES:
        raise CommandLineError(
            f"{options.output}: the name of the file must end in "
            f"{' or '.join(_SUFFIXES)}."
        )
    require_folders(options.output)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn convert`; see `main` for the exit status."""
    from keras_radn import peers
    from keras_radn.models.packaged_weights import write_weights
    from keras_radn.peers.conversion import CONVERTIBLE

    known = [
        name for name, kind in peers.PRESETS.items() if kind in CONVERTIBLE
    ]
    if options.network not in known:
        raise CommandLineError(
            f"NETWORK must be one of {', '.join(known)}. "
            f"Received: {options.network}"
        )
    model = peers.PRESETS[options.network].from_preset(options.network)
    peers.load_published(model, options.source)
    if options.output.suffix == ".npz":
        write_weights(model, options.output, half=False)
    else:
        with written_beside(options.output) as partial:
            model.save(partial)
    say(f"{options.output}: {model.count_params():,} weights")
    return 0
