"""Deblurring networks."""

from keras_radn.models.inference_form import inference_model
from keras_radn.models.radn import RADN
from keras_radn.models.residual_baseline import ResidualBaseline

__all__ = ["RADN", "ResidualBaseline", "inference_model"]
