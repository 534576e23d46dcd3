"""The networks that trainings begin with."""

import inspect
from pathlib import Path
from typing import Any

import keras

from keras_radn.inference.model_file import read_model
from keras_radn.models import RADN, ResidualBaseline, grow
from keras_radn.models.deblurring_model import DeblurringModel, paper_recipe
from keras_radn.models.packaged_weights import packaged_presets
from keras_radn.optimizers import WarmupStableDecay
from keras_radn.peers import PRESETS as PEERS
from keras_radn.training.config import TrainingConfig


def new_model(
    config: TrainingConfig, learning_rate: Any | None = None
) -> DeblurringModel:
    """The compiled network with which a training begins.

    Args:
        config: the configuration.
        learning_rate: a number or a schedule; `None` for the configuration's.

    Raises:
        ValueError: if the preset is unknown or its arguments do not fit.
    """
    keras.utils.set_random_seed(config.seed)
    arguments = {"dtype": config.dtype, **config.model}
    if config.preset in ResidualBaseline.presets:
        network = ResidualBaseline
    elif config.preset in PEERS:
        network = PEERS[config.preset]
    else:
        network = RADN
        arguments.setdefault("pretrained", False)
        if config.encoder_weights == "random":
            arguments["encoder_weights"] = None
        elif config.encoder_weights != "preset":
            arguments["encoder_weights"] = config.encoder_weights
    if config.start is not None:  # whose weights replace all others
        arguments.pop("encoder_weights", None)
    known = inspect.signature(network.__init__).parameters
    if unknown := sorted(config.model.keys() - known):
        raise ValueError(
            f"`model` has an unknown entry: {unknown}. Known: {sorted(known)}."
        )
    load = config.start is None
    try:
        model = network.from_preset(config.preset, load, **arguments)
    except TypeError as error:  # of a value of another type
        raise ValueError(f"`model` does not fit: {error}.") from error
    if config.start is not None:
        model = _started(model, config.start)
    if learning_rate is None:
        learning_rate = learning_rates(config)
    compile_network(model, config, config.make_optimizer(learning_rate))
    return model


def _started(model, start):
    """A network of the same architecture that computes what `start` does."""
    if start in packaged_presets(RADN):
        smaller = RADN.from_preset(start, pretrained=True)
    elif Path(start).is_file():
        smaller = read_model(start)
    else:
        raise FileNotFoundError(
            "`start` must be a .keras file, or a preset with packaged weights "
            f"({', '.join(packaged_presets(RADN))}). Received: {start!r}"
        )
    if not (isinstance(smaller, RADN) and isinstance(model, RADN)):
        raise ValueError(
            "Only a RADN can start with the weights of a RADN. Received: "
            f"{type(smaller).__name__} for {type(model).__name__}"
        )
    return grow(smaller, dtype=model.dtype_policy, **model.architecture())


def learning_rates(config: TrainingConfig) -> WarmupStableDecay:
    """The learning rate of each step.

    Args:
        config: the configuration.

    Raises:
        ValueError: if its parts are longer than the run.
    """
    decay_steps = config.decay_steps
    if decay_steps is None:
        decay_steps = config.steps - config.warmup_steps
    changes = [
        (part["step"], part["learning_rate"])
        for part in config.progression
        if "learning_rate" in part
    ]
    return WarmupStableDecay(
        config.learning_rate,
        config.steps,
        config.warmup_steps,
        decay_steps,
        changes,
    )


def compile_network(
    model: DeblurringModel,
    config: TrainingConfig,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Compiles a network for its training.

    Args:
        model: the network.
        config: names the loss.
        optimizer: of the training.
    """
    recipe = {"optimizer": optimizer, "loss": config.make_loss()}
    model.compile(**{**paper_recipe(), **recipe})
