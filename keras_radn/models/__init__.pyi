from .growth import grow
from .inference_form import inference_model
from .radn import RADN
from .residual_baseline import ResidualBaseline

__all__ = ["RADN", "ResidualBaseline", "grow", "inference_model"]
