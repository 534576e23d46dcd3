import argparse
import os
import platform
from importlib.metadata import version

import keras
import tensorflow as tf


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn info`."""
    parser = commands.add_parser(
        "info", help="show versions, devices and the deformable op in use"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn info`; see `main` for the exit status."""
    devices = ", ".join(
        f"{device.device_type} {device.name.rsplit(':', 1)[-1]}"
        for device in tf.config.list_physical_devices()
    )
    rows = {
        "keras-radn": version("keras-radn"),
        "Keras": f"{keras.__version__} on {keras.backend.backend()}",
        "TensorFlow": tf.__version__,
        "Python": platform.python_version(),
        "platform": f"{platform.platform()}, {os.cpu_count()} cores",
        "devices": devices,
        "deformable op": "gather (TensorFlow's own ops; this version has no "
        "compiled op)",
    }
    for name, value in rows.items():
        print(f"{name + ':':15}{value}")
    return 0
