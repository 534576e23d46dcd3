"""Networks for other runtimes: TF-Serving, LiteRT, ONNX."""

from keras_radn.keras_setup import import_keras

import_keras()

from keras_radn.ops import backend

backend.require_tensorflow("An export")

from keras_radn.export.network import Exported
from keras_radn.export.to_litert import litert
from keras_radn.export.to_onnx import onnx
from keras_radn.export.to_saved_model import saved_model

__all__ = ["Exported", "litert", "onnx", "saved_model"]
