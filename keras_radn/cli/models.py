import argparse

from keras_radn.cli.option_types import integer
from keras_radn.models.presets import RADN_PRESETS


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn models`."""
    parser = commands.add_parser(
        "models", help="list the variants with their parameters and MACs"
    )
    parser.add_argument(
        "--size",
        type=integer(1),
        default=256,
        metavar="N",
        help="side of the image in pixels (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn models`; see `main` for the exit status."""
    from keras_radn.models.cost import count_macs
    from keras_radn.ops import backend

    backend.require_tensorflow("The count of operations")
    size = options.size
    print(
        f"| variant | parameters | GMAC at {size}x{size} "
        "| packaged weights, dB | what |"
    )
    print("|---|---:|---:|---|---|")
    for name, build, description in variants():
        model = build()
        macs = count_macs(model, size, size) / 1e9
        parameters = f"{model.count_params():,}"
        print(
            f"| {name} | {parameters} | {macs:.2f} "
            f"| {_packaged_psnr(name)} | {description} |"
        )
    return 0


def _packaged_psnr(name):
    weights = RADN_PRESETS.get(name, {}).get("weights")
    if weights is None:
        return "none"
    return ", ".join(f"{k} {value:.2f}" for k, value in weights["psnr"].items())


def variants() -> list:
    """Name, constructor and description of every variant of the paper."""
    from keras_radn.models import RADN, ResidualBaseline

    return [
        (
            name,
            lambda name=name: RADN.from_preset(name, load_weights=False),
            preset["description"],
        )
        for name, preset in RADN.presets.items()
    ] + [
        (
            name,
            lambda name=name: ResidualBaseline.from_preset(name),
            preset["description"],
        )
        for name, preset in ResidualBaseline.presets.items()
    ]
