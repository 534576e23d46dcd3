from .batch import deblur_files
from .cluster.batch import deblur_on_ray
from .deblurrer import Deblurrer, deblur
from .report import Report
from .video.process import deblur_video

__all__ = [
    "Deblurrer",
    "Report",
    "deblur",
    "deblur_files",
    "deblur_on_ray",
    "deblur_video",
]
