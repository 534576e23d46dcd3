"""Keras, set up as the package needs it.

Importing it takes seconds, so that `import keras_radn` leaves it to whoever
uses the package first.
"""

import importlib
import os
import sys
from types import ModuleType

import lazy_loader

from keras_radn import hooks
from keras_radn.system.stderr import without_messages

# Where classes are registered with Keras.
_REGISTERING = (
    *("keras_radn.layers", "keras_radn.losses", "keras_radn.metrics"),
    *("keras_radn.models.radn", "keras_radn.models.residual_baseline"),
    "keras_radn.optimizers",
)
# Parts that import Keras, which `register` may find half imported.
_PARTS = (
    *("keras_radn.layers", "keras_radn.losses", "keras_radn.metrics"),
    *("keras_radn.models.", "keras_radn.ops", "keras_radn.optimizers"),
    "keras_radn.peers",
)
# Modules in them that do not import Keras.
_NAMES = ("keras_radn.models.presets", "keras_radn.models.peer_presets")


def attach(package: str, file: str) -> tuple:
    """`__getattr__`, `__dir__` and `__all__` of a package that imports late.

    Args:
        package: its name.
        file: its `__init__.py`; public names are those of the stub beside it.
    """
    load, names, public = lazy_loader.attach_stub(package, file)

    def get(name):
        if name in public:
            import_keras()
        return load(name)

    return get, names, public


def import_keras() -> None:
    """Imports Keras and registers the classes of this package with it.

    Raises:
        ImportError: if that fails, or Keras is set up otherwise; one sentence.
    """
    if "keras" not in sys.modules:
        try:
            if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") >= "2":
                _import_keras_quietly()
            else:
                importlib.import_module("keras")
        except Exception as error:  # a wrong configuration raises many kinds
            raise ImportError(
                "keras_radn needs Keras on TensorFlow, JAX or PyTorch, which "
                f"cannot be imported ({type(error).__name__}: {error}); "
                "install Keras and one of these, set KERAS_BACKEND to "
                "tensorflow, jax or torch, and look into the keras.json of "
                "Keras."
            ) from error
    check(sys.modules["keras"])
    _register_all()


def check(keras: ModuleType) -> None:
    """Refuses a Keras that this package cannot use.

    Args:
        keras: the module.

    Raises:
        ImportError: if its backend, image data format or version is not one
            that the package works with; one sentence.
    """
    if problem := _problem_of(keras):
        raise ImportError(problem)


def register(keras: ModuleType) -> None:
    """Makes the classes of this package known to Keras, which reads files.

    Called as soon as Keras is imported. If that is by a part of this package,
    which the other parts cannot import before it is there, `import_keras` does
    the rest.
    """
    begun = any(
        name.startswith(_PARTS) and name not in _NAMES for name in sys.modules
    )
    if not begun and not _problem_of(keras):
        _register_all()


def _register_all():
    for module in _REGISTERING:
        importlib.import_module(module)


def _import_keras_quietly():
    """Imports Keras and its backend, without messages on stderr.

    TensorFlow's first ones are written by C++ whatever `TF_CPP_MIN_LOG_LEVEL`
    says.
    """
    failure = None
    with without_messages():
        try:
            importlib.import_module("keras")
            # The last of the messages come with the first device.
            if "tensorflow" in sys.modules:
                sys.modules["tensorflow"].config.list_physical_devices()
        except Exception as error:  # it says more than the messages
            failure = error
    if failure is not None:
        raise failure


def _problem_of(keras):
    if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
        return (
            "keras_radn needs Keras on TensorFlow, JAX or PyTorch. Received: "
            f"the backend {keras.backend.backend()!r}; set KERAS_BACKEND to "
            "tensorflow, jax or torch."
        )
    if keras.config.image_data_format() != "channels_last":
        return (
            "keras_radn needs images whose channels are last. Received: the "
            f"image data format {keras.config.image_data_format()!r}; set "
            '"image_data_format": "channels_last" in the keras.json of Keras.'
        )
    used = hooks.KERAS
    if keras.backend.backend() == "tensorflow":
        used += hooks.TENSORFLOW
    return hooks.problem(used)
