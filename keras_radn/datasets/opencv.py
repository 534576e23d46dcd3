"""Imports OpenCV, or says how to install it."""

try:
    import cv2
except ImportError as error:
    raise ImportError(
        "Making blur needs OpenCV: pip install 'keras-radn[train]'."
    ) from error

__all__ = ["cv2"]
