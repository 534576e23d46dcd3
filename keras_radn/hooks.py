"""Private names of Keras and TensorFlow: all that the package hooks into.

Such names can go in any release. An override of a method that is no longer
called would do nothing, so the package refuses a version that lacks one of
them. Every name stands here beside the version that it was read from; other
files override what is listed, or call the functions below.

Keras and TensorFlow are imported by whoever calls these.
"""

import pkgutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Hook(NamedTuple):
    """A private name.

    Attributes:
        owner: the class or module that has it.
        name: of the attribute.
        version: of the package that it was read from.
        use: what this package does with it.
    """

    owner: str
    name: str
    version: str
    use: str


_MUON = "keras.optimizers.Muon"

KERAS = (
    Hook(_MUON, "_should_use_adamw", "3.15.1", "overridden by ConvMuon"),
    Hook(_MUON, "_muon_update_step", "3.15.1", "overridden by ConvMuon"),
    Hook(_MUON, "_adamw_update_step", "3.15.1", "overridden by ConvMuon"),
    Hook(_MUON, "_apply_weight_decay", "3.15.1", "overridden by ConvMuon"),
    Hook(
        _MUON,
        "_backend_update_step",
        "3.15.1",
        "overridden by both optimizers",
    ),
    Hook(_MUON, "_clip_gradients", "3.15.1", "overridden by both optimizers"),
    Hook(
        "keras.optimizers.Optimizer",
        "_update_model_variables_moving_average",
        "3.15.1",
        "overridden by both optimizers",
    ),
    Hook(
        "keras.optimizers.Optimizer",
        "_get_variable_index",
        "3.15.1",
        "called by both optimizers",
    ),
    Hook(
        "keras.Model",
        "_assert_compile_called",
        "3.15.1",
        "overridden by DeblurringModel",
    ),
    Hook("keras.Layer", "_flatten_layers", "3.15.1", "called here"),
)

# Where Keras runs on TensorFlow.
TENSORFLOW = (
    Hook(
        "keras.Model",
        "_maybe_symbolic_build",
        "3.15.1",
        "overridden by the base class of networks",
    ),
    Hook("keras.Layer", "_track_trackable", "3.15.1", "called here"),
    Hook("keras.src", "export", "3.15.1", "looked for on the stack"),
    Hook(
        "tensorflow.python.ops.control_flow_util",
        "GraphOrParentsInXlaContext",
        "2.21.0",
        "called here",
    ),
    Hook(
        "tensorflow.python.framework.kernels",
        "get_registered_kernels_for_op",
        "2.21.0",
        "called here",
    ),
    Hook(
        "tensorflow.python.framework.ops.SymbolicTensor",
        "_shape_val",
        "2.21.0",
        "set here, for the server",
    ),
)


def problem(hooks: tuple[Hook, ...]) -> str | None:
    """What is wrong with the installed version of Keras or TensorFlow.

    Args:
        hooks: names that it must have; the packages are imported already.

    Returns:
        A sentence, or `None` if they are all there.
    """
    for hook in hooks:
        try:
            found = hasattr(pkgutil.resolve_name(hook.owner), hook.name)
        except (AttributeError, ImportError):
            found = False
        if not found:
            package = hook.owner.partition(".")[0]
            return _lack(f"{hook.owner}.{hook.name}", package, hook.version)
    return None


def _lack(name, package, version):
    return (
        f"keras_radn needs {name}. Received: {package} "
        f"{sys.modules[package].__version__}, which does not have it; install "
        f"{package}=={version}."
    )


# What an optimizer has once it is built; no class has them. Read from Keras
# 3.15.1.
OPTIMIZER_STATE = (
    "_model_variables_moving_average",
    "_momentums",
    "_velocities",
)


def optimizer_state(
    optimizer: "keras.optimizers.Optimizer", name: str
) -> "list[keras.Variable]":
    """Variables that an optimizer has for the weights, in their order.

    Args:
        optimizer: one that is built.
        name: one of `OPTIMIZER_STATE`.

    Raises:
        ImportError: if this version of Keras calls them otherwise.
    """
    try:
        return getattr(optimizer, name)
    except AttributeError as error:
        raise ImportError(
            _lack(f"{name} of an optimizer", "keras", "3.15.1")
        ) from error


def flatten_layers(
    layer: "keras.Layer", include_self: bool = True
) -> "list[keras.Layer]":
    """A layer or model with all layers inside of it, of any depth."""
    return layer._flatten_layers(include_self=include_self)


def track_in_checkpoints(
    owner: "keras.Layer", layers: "Iterable[keras.Layer]"
) -> None:
    """Lets `tf.train.Checkpoint` save layers that their owner has in a list.

    Keras 3.15 tells TensorFlow of layers in attributes only, and the weights
    of the others are left out without a word. Keras's own files have them.

    Args:
        owner: the layer whose `__init__` calls this.
        layers: its layers, each with a name of its own.
    """
    if not hasattr(owner, "_track_trackable"):  # another backend's layers
        return
    for layer in layers:
        owner._track_trackable(layer, layer.name, overwrite=True)


def exported_by_keras() -> bool:
    """Whether the graph that is being built is one that Keras exports.

    `keras.Model.export` says so to nobody; its modules are on the stack.
    """
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("keras.src.export."):
            return True
        frame = frame.f_back
    return False


def in_xla(graph: "tf.Graph") -> bool:
    """Whether a graph, or one that it is a part of, is compiled by XLA."""
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(graph)


def devices_of(op: str) -> list[str]:
    """Types of devices for which TensorFlow has kernels of an operation."""
    from tensorflow.python.framework import kernels

    found = kernels.get_registered_kernels_for_op(op)
    return sorted({kernel.device_type for kernel in found.kernel})


def forget_shape(tensor: Any) -> None:
    """Lets a session feed a tensor of any shape, whatever Python knows."""
    import tensorflow as tf

    tensor._shape_val = tf.TensorShape(None)
