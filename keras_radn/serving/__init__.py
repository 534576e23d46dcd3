"""A server of SavedModels that speaks TF-Serving's REST and gRPC API."""

from keras_radn.keras_setup import import_keras

import_keras()

from keras_radn.ops import backend

backend.require_tensorflow("The server")

try:
    import fastapi  # noqa: F401
    import grpc_health  # noqa: F401
    import orjson  # noqa: F401
    import prometheus_client  # noqa: F401
    import rapidjson  # noqa: F401
    import tensorflow_serving  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"Serving needs {error.name}: pip install 'keras-radn[serve]'."
    ) from error

from keras_radn.serving.model_config import read_config, single_model
from keras_radn.serving.server import ServerOptions, serve

__all__ = ["ServerOptions", "read_config", "serve", "single_model"]
