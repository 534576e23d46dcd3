"""Region-Adaptive Dense Network for motion deblurring, in Keras 3."""

import sys
from pathlib import Path

# The command, not a use as a library: its user did not ask for TensorFlow's
# start-up messages, which only a redirection of stderr keeps away.
if Path(sys.argv[0]).stem == "keras-radn":
    from keras_radn.cli.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_radn needs Keras on TensorFlow. Received: the backend "
        f"{keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
    )

from keras_radn import layers, losses, metrics, models, ops
from keras_radn.inference import deblur
from keras_radn.models import RADN, ResidualBaseline

__all__ = [
    "RADN",
    "ResidualBaseline",
    "deblur",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
]
