"""More than one device, or more than one machine."""

import json
import os
from typing import TYPE_CHECKING, Any

from keras_radn.ops import backend

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("mirrored", "multi-worker")


def make_strategy(name: str | None) -> "tf.distribute.Strategy":
    """The distribution strategy of a name.

    Args:
        name: `None` for TensorFlow's default (one device), `"mirrored"` for
            all GPUs of this machine, or all logical CPUs, `"multi-worker"` for
            the machines that the environment variable `TF_CONFIG` lists; each
            of them must run the same command.

    Raises:
        ImportError: if Keras runs on another backend.
        ValueError: if the name is not known or `TF_CONFIG` is not a cluster.

    Example:

    ```python
    from keras_radn import training

    with training.make_strategy("mirrored").scope():
        model = keras_radn.RADN()
    ```
    """
    backend.require_tensorflow("A distribution strategy")
    import tensorflow as tf

    if name is None:
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU")
        devices = devices or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([d.name for d in devices])
    if name != "multi-worker":
        raise ValueError(
            f"The strategy must be one of {STRATEGIES}. Received: {name!r}"
        )
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        cluster[task["type"]][int(task["index"])]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            "The environment variable TF_CONFIG must name the cluster and this "
            'machine\'s task, as {"cluster": {"worker": ["host1:2222", '
            '"host2:2222"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {text!r}"
        ) from error
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy: Any) -> bool:
    """Whether this process writes the files of a run."""
    if not backend.spans_machines(strategy):
        return True
    resolver = strategy.cluster_resolver
    chief = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (chief, 0)
