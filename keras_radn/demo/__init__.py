"""A page in the browser to try a network on one's own photographs."""

try:
    import fastapi  # noqa: F401
    import matplotlib  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"The page needs {error.name}: pip install 'keras-radn[demo]'."
    ) from error

from keras_radn.demo.server import DemoOptions, serve

__all__ = ["DemoOptions", "serve"]
