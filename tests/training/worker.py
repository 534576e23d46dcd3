"""Runs `keras-radn` on a number of CPUs and writes the trained weights.

python worker.py CPUS WEIGHTS train ...
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from keras_radn import training
from keras_radn.cli.main import main


def train(*arguments, **options):
    """Trains, and writes this process's copy of the weights."""
    model = original(*arguments, **options)
    np.savez(sys.argv[2], *model.get_weights())
    return model


if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]),
    )
    original, training.train = training.train, train
    sys.exit(main(sys.argv[3:]))
