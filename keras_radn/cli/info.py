import argparse
import json
import os
import platform


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn info`."""
    parser = commands.add_parser(
        "info", help="show versions, devices and the deformable op in use"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, for programs"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn info`; see `main` for the exit status."""
    from importlib.metadata import version

    import keras

    from keras_radn import gpu
    from keras_radn.ops import backend

    rows = {
        "keras-radn": version("keras-radn"),
        "Keras": f"{keras.__version__} on {keras.backend.backend()}",
        "Python": platform.python_version(),
        "platform": f"{platform.platform()}, {os.cpu_count()} cores",
        **backend.information(),
        "GPU": gpu.report(),
    }
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    for name, value in rows.items():
        print(f"{name + ':':15}{value}")
    return 0
