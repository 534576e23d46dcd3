import dataclasses
import os
import tomllib
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What a training run is made of; a TOML file has the same names.

    Attributes:
        preset: key of `RADN.presets`.
        encoder_weights: `"imagenet"`, `"random"` or the path of a DenseNet-121
            weights file.
        model: further arguments of `RADN` that replace the preset's.
        stills: folder of sharp photographs to blur, or `None`.
        pairs: folder of real pairs (`blur/`, `sharp/`), or `None`.
        pairs_share: share of patches from the real pairs.
        validation: folder of real pairs, or `None`.
        patch_size: side of the patches in pixels.
        batch_size: patches per step.
        steps: steps of the whole run.
        warmup_steps: steps over which the learning rate rises from zero.
        learning_rate: highest learning rate; it stays there until the last
            steps.
        decay_steps: last steps, over which a half cosine takes the learning
            rate to zero; `None` for all steps after the warm-up.
        ema_momentum: momentum of an exponential moving average of the
            weights, which are validated and written in place of the last
            ones; 0 for none.
        clip_norm: bound on the global norm of the gradient.
        steps_per_epoch: steps between two validations.
        checkpoint_steps: steps between two checkpoints.
        dtype: dtype policy.
        seed: seed of weights and data.

    Relative paths in a file are relative to the file's folder.
    """

    preset: str = "radn_final"
    encoder_weights: str = "imagenet"
    model: dict = dataclasses.field(default_factory=dict)
    stills: str | None = None
    pairs: str | None = None
    pairs_share: float = 0.2
    validation: str | None = None
    patch_size: int = 128
    batch_size: int = 8
    steps: int = 3000
    warmup_steps: int = 100
    learning_rate: float = 5e-4
    decay_steps: int | None = None
    ema_momentum: float = 0.0
    clip_norm: float = 1.0
    steps_per_epoch: int = 200
    checkpoint_steps: int = 100
    dtype: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self):
        if self.stills is None and self.pairs is None:
            raise ValueError(
                "A training needs `stills`, `pairs` or both. Received neither."
            )
        for name in ("patch_size", "batch_size", "steps", "steps_per_epoch"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be positive. "
                    f"Received: {getattr(self, name)}"
                )

    @classmethod
    def from_toml(cls, path: str | os.PathLike, **overrides):
        """Reads a configuration.

        Args:
            path: a TOML file whose keys are the attributes of the class.
            **overrides: values that replace the file's, unless `None`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no TOML, or a key or value is not known.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no configuration file {path}.")
        try:
            values = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not valid TOML: {error}.") from error
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := values.keys() - known:
            raise ValueError(
                f"{path} has unknown keys: {sorted(unknown)}. "
                f"Known: {sorted(known)}."
            )
        for key in ("stills", "pairs", "validation"):
            if key in values:
                values[key] = str(path.parent / values[key])
        values |= {k: v for k, v in overrides.items() if v is not None}
        return cls(**values)
