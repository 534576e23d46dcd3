"""Region-Adaptive Dense Network for motion deblurring, in Keras 3."""

import os
import sys
from pathlib import Path

# The command's user did not ask for TensorFlow's start-up messages.
if Path(sys.argv[0]).stem == "keras-radn":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") >= "2":
    from keras_radn.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_radn needs Keras on TensorFlow. Received: the backend "
        f"{keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
    )
if keras.config.image_data_format() != "channels_last":
    raise ImportError(
        "keras_radn needs images whose channels are last. Received: the image "
        f"data format {keras.config.image_data_format()!r}; set "
        '"image_data_format": "channels_last" in the keras.json of Keras.'
    )

from keras_radn import layers, losses, metrics, models, ops, optimizers
from keras_radn.inference import deblur, deblur_files, deblur_video
from keras_radn.models import RADN, ResidualBaseline, inference_model

__all__ = [
    "RADN",
    "ResidualBaseline",
    "deblur",
    "deblur_files",
    "deblur_video",
    "inference_model",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
]
