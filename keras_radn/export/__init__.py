"""Networks for other runtimes: TF-Serving, LiteRT, ONNX."""

from keras_radn.export.litert import litert
from keras_radn.export.network import Exported
from keras_radn.export.onnx import onnx
from keras_radn.export.saved_model import saved_model

__all__ = ["Exported", "litert", "onnx", "saved_model"]
