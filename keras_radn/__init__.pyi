from . import (
    inference,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    peers,
)
from .inference.batch import deblur_files
from .inference.deblurrer import Deblurrer, deblur
from .inference.video.process import deblur_video
from .models.inference_form import inference_model
from .models.radn import RADN
from .models.residual_baseline import ResidualBaseline

__all__ = [
    "RADN",
    "Deblurrer",
    "ResidualBaseline",
    "deblur",
    "deblur_files",
    "deblur_video",
    "inference",
    "inference_model",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "peers",
]
