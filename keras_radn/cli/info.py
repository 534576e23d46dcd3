import argparse
import os
import platform
import warnings
from importlib.metadata import version

import keras
import tensorflow as tf
from tensorflow.python.framework import kernels

from keras_radn.ops import library


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
        "deformable op": _deformable_op(),
    }
    for name, value in rows.items():
        print(f"{name + ':':15}{value}")
    return 0


def _deformable_op():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reason is printed here
        chosen = library.choose("auto")
    state = library.load()
    if state.problem is not None:
        return f"{chosen}; the compiled library {state.problem}"
    found = kernels.get_registered_kernels_for_op("KerasRadn>DeformableSum")
    devices = sorted({kernel.device_type for kernel in found.kernel})
    return (
        f"{chosen}; compiled for {' and '.join(devices)}, on this CPU "
        f"{state.instruction_set} ({state.path})"
    )
