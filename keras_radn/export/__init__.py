"""Networks for other runtimes: TF-Serving."""

from keras_radn.export.saved_model import saved_model

__all__ = ["saved_model"]
