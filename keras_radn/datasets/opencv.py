"""OpenCV, or a word on how to get it."""

try:
    import cv2
except ImportError as error:
    raise ImportError(
        "Making blur needs OpenCV: pip install 'keras-radn[train]'."
    ) from error

__all__ = ["cv2"]
