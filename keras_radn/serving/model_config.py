import os
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

ModelConfig = model_server_config_pb2.ModelConfig
ModelServerConfig = model_server_config_pb2.ModelServerConfig


def single_model(name: str, base_path: str | os.PathLike) -> ModelServerConfig:
    """The configuration of one model, whose latest version is served.

    Args:
        name: what the requests call it.
        base_path: folder that holds a numbered folder per version.

    Raises:
        ValueError: not such a folder.
    """
    config = ModelServerConfig()
    config.model_config_list.config.add(
        name=name,
        base_path=str(Path(base_path).absolute()),
        model_platform="tensorflow",
    )
    check_config(config)
    return config


def read_config(path: str | os.PathLike) -> ModelServerConfig:
    """Reads TF-Serving's configuration of several models.

    Args:
        path: text file of a `tensorflow.serving.ModelServerConfig`.

    Raises:
        ValueError: not such a file, or the models in it are not usable.
    """
    config = ModelServerConfig()
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), config)
        check_config(config)
    except (text_format.ParseError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def check_config(config: ModelServerConfig) -> None:
    """Checks what a server needs to know of its models.

    Raises:
        ValueError: it cannot be served.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise ValueError("Only a model_config_list is supported.")
    names = set()
    for model in config.model_config_list.config:
        if not model.name or "" in model.version_labels:
            raise ValueError(
                "A model and its labels need names. Received: an empty one."
            )
        if model.name in names:
            raise ValueError(f"Two models have the name {model.name}.")
        names.add(model.name)
        if model.model_platform not in ("", "tensorflow"):
            raise ValueError(
                f"{model.name}: the platform has to be tensorflow. Received: "
                f"{model.model_platform!r}."
            )
        _check_base_path(Path(model.base_path))


def _check_base_path(base_path):
    if not base_path.is_absolute():
        raise ValueError(
            f"The base path of a model has to be absolute. Received: "
            f"'{base_path}'."
        )
    if not base_path.is_dir():
        raise ValueError(f"{base_path}: there is no such folder.")
    if (base_path / "saved_model.pb").is_file():
        raise ValueError(
            f"{base_path}: is itself a SavedModel; give the folder that holds "
            "it, and let its name be a number, the version."
        )
