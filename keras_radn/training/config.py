import dataclasses
import functools
import os
import tomllib
import types
import typing
from pathlib import Path

import keras

from keras_radn.losses import Charbonnier
from keras_radn.optimizers import ConvMuon, JointClipAdam

_LOSSES = {
    "charbonnier": Charbonnier,
    "mean_absolute_error": keras.losses.MeanAbsoluteError,
    "mean_squared_error": keras.losses.MeanSquaredError,
}
_OPTIMIZERS = {"adam": JointClipAdam, "muon": ConvMuon}
_FOLDERS = ("gopro", "pairs", "stills", "videos", "validation")
# Values of `encoder_weights` that are not paths.
_ENCODERS = ("preset", "imagenet", "random")
# What `progression` may change.
_PROGRESSIVE = (
    "patch_size",
    "batch_size",
    "learning_rate",
    "strength",
    "pairs_share",
    "videos_share",
    "balance",
)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What a training run is made of; a TOML file has the same names.

    The defaults are the paper's recipe (section "Experimental Setup"): Adam
    with a constant learning rate of 1e-4, 10**6 steps of 16 patches of
    256x256. What the paper does not say is ours: the loss, the bound on the
    gradient, and that patches are flipped and turned by right angles.

    Attributes:
        preset: key of `RADN.presets`, `ResidualBaseline.presets` or the presets
            of a network in `keras_radn.peers`.
        encoder_weights: of RADN: `"imagenet"`, `"random"` or the path of a
            DenseNet-121 weights file; `"preset"` is what the preset says.
        model: further arguments of the network that replace the preset's.
        start: a trained `RADN` with whose weights the network starts: a
            `.keras` file, or a preset with packaged weights. A smaller one
            grows (`keras_radn.models.grow`); give some `warmup_steps`.
        gopro: folder of the GoPro set, which holds `train` and `test`: trained
            on the one, validated on the other; see `keras_radn.datasets.gopro`.
        pairs: folder or list of real pairs, or `None`; see
            `keras_radn.datasets.find_pairs`.
        blur: name of the folders of blurred images in `gopro` and `pairs`, or
            `None`.
        stills: folder of sharp photographs to blur, or `None`.
        videos: folder of videos whose frames are averaged, or `None`.
        pairs_share: share of patches from the real pairs, if there are other
            sources.
        videos_share: share of patches from the videos, if there are stills.
        pairs_reduction: by how much patches of real pairs are reduced at most;
            see `keras_radn.datasets.ImagePairs`.
        repeats: how often a drawn patch is used; see
            `keras_radn.datasets.patch_dataset`.
        strength: arguments of `keras_radn.datasets.BlurStrength`.
        candidates: crops of a still from which a patch is chosen; see
            `keras_radn.datasets.SyntheticBlur`.
        balance: how alike patches count whose blur does different harm; see
            `keras_radn.datasets.patch_dataset`.
        validation: folder or list of real pairs, or `None`.
        validation_blur: name of the folders of blurred images in `validation`,
            or `None`; see `keras_radn.datasets.find_pairs`. The `blur` of
            `gopro` is that of its test half, too.
        validation_images: how many of them, at equal distances; `None` for
            all.
        validation_epochs: epochs between two validations; the last epoch
            has one in any case.
        patch_size: side of the patches in pixels.
        progression: what changes in later parts of the run. A table for each
            part with its first `step` and new values of `patch_size`,
            `batch_size`, `learning_rate`, `strength`, `pairs_share`,
            `videos_share` or `balance` (which is 0 in all parts or in none);
            what it does not name stays as in the part before.
        batch_size: patches per step, of all replicas together.
        steps: steps of the whole run.
        loss: `"charbonnier"`, `"mean_absolute_error"` or
            `"mean_squared_error"`.
        optimizer: `"adam"`, or `"muon"` (`ConvMuon`), which needs fewer steps
            from random weights.
        learning_rate: highest learning rate; it stays there until the last
            steps.
        steering_lr_ratio: learning rate of what estimates the offsets and of
            the attention's similarities, relative to that of the rest. At 1
            and a high learning rate offsets run away.
        steering_start: step before which these do not change.
        freeze_norms: step from which batch norms use their moving averages
            in training, too, after these were measured; if negative, from the
            start and as they are; `None` for never.
        warmup_steps: steps over which the learning rate rises from zero.
        decay_steps: last steps, over which a half cosine takes the learning
            rate to zero; `None` for all steps after the warm-up.
        ema_momentum: momentum of an exponential moving average of the
            weights, which are validated and written in place of the last
            ones; 0 for none.
        clip_norm: bound on the global norm of the gradient.
        steps_per_epoch: steps between two checkpoints, each with a row in the
            log.
        average_steps: with several processes (`train_in_processes`), steps
            between two averages of their weights.
        dtype: dtype policy.
        seed: seed of weights and data.

    Relative paths in a file are relative to the file's folder.

    Raises:
        ValueError: if a value is not possible, or of another type.

    Example:

    ```python
    from keras_radn import training

    config = training.TrainingConfig(gopro="GOPRO_Large", batch_size=8)
    ```
    """

    preset: str = "radn_final"
    encoder_weights: str = "preset"
    model: dict = dataclasses.field(default_factory=dict)
    start: str | None = None
    gopro: str | None = None
    pairs: str | None = None
    blur: str | None = None
    stills: str | None = None
    videos: str | None = None
    pairs_share: float = 0.2
    videos_share: float = 0.2
    pairs_reduction: float = 1.0
    repeats: int = 1
    strength: dict = dataclasses.field(default_factory=dict)
    candidates: int = 1
    balance: float = 0.0
    validation: str | None = None
    validation_blur: str | None = None
    validation_images: int | None = None
    validation_epochs: int = 1
    patch_size: int = 256
    progression: list[dict] = dataclasses.field(default_factory=list)
    batch_size: int = 16
    steps: int = 1_000_000
    loss: str = "charbonnier"
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    steering_lr_ratio: float = 1.0
    steering_start: int = 0
    freeze_norms: int | None = None
    warmup_steps: int = 0
    decay_steps: int | None = 0
    ema_momentum: float = 0.0
    clip_norm: float = 1.0
    steps_per_epoch: int = 1000
    average_steps: int = 25
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        self._check_types()
        if not (self.gopro or self.pairs or self.stills or self.videos):
            raise ValueError(
                "A training needs images: `gopro`, `pairs`, `stills` or "
                "`videos`. Received none of them."
            )
        if self.gopro and self.pairs:
            raise ValueError(
                "`gopro` and `pairs` exclude each other. Received: "
                f"{self.gopro!r} and {self.pairs!r}"
            )
        for name, known in (("loss", _LOSSES), ("optimizer", _OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {sorted(known)}. "
                    f"Received: {getattr(self, name)!r}"
                )
        for name in (
            "patch_size",
            "candidates",
            "batch_size",
            "steps",
            "steps_per_epoch",
            "average_steps",
            "validation_epochs",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be positive. "
                    f"Received: {getattr(self, name)}"
                )
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"`{name}` must be positive. "
                    f"Received: {getattr(self, name)}"
                )
        for name in ("balance", "warmup_steps", "decay_steps"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(
                    f"`{name}` must not be negative. "
                    f"Received: {getattr(self, name)}"
                )
        self._check_progression()
        for name in ("pairs_share", "videos_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"`{name}` must be in [0, 1]. "
                    f"Received: {getattr(self, name)}"
                )

    def _check_progression(self):
        for part in self.progression:
            if not isinstance(part, dict) or type(part.get("step")) is not int:
                raise ValueError(
                    "Each part of `progression` must be a table with its "
                    f"first `step`, an integer. Received: {part!r}"
                )
            if unknown := part.keys() - {"step", *_PROGRESSIVE}:
                raise ValueError(
                    f"`progression` can not change {sorted(unknown)}. "
                    f"Known: {sorted(_PROGRESSIVE)}."
                )
        stages = self.stages()
        if any(first >= end for first, end, _ in stages):
            raise ValueError(
                "The steps of `progression` must rise and be less than "
                f"`steps`. Received: {self.progression}, steps={self.steps}; "
                "for a shorter run take a copy of the file with fewer parts"
            )
        # Batches with weights and without are not one stream.
        balances = [stage.balance for *_, stage in stages]
        if any(balances) and not all(balances):
            raise ValueError(
                "`balance` must be 0 in all parts of `progression` or in none. "
                f"Received: {balances}"
            )

    def _check_types(self):
        hints = typing.get_type_hints(type(self))
        for name, hint in hints.items():
            value = getattr(self, name)
            union = isinstance(hint, types.UnionType)
            allowed = typing.get_args(hint) if union else (hint,)
            allowed = tuple(typing.get_origin(kind) or kind for kind in allowed)
            if int in allowed and isinstance(value, float):
                # TOML's 1e6 is a float.
                if value.is_integer():
                    object.__setattr__(self, name, int(value))
                    continue
            elif float in allowed and type(value) is int:
                continue
            if not isinstance(value, allowed) or isinstance(value, bool):
                raise ValueError(
                    f"`{name}` must be of type {allowed[0].__name__}. "
                    f"Received: {value!r}"
                )

    @property
    def epochs(self) -> int:
        """Epochs of the whole run; the last one may be shorter."""
        return -(-self.steps // self.steps_per_epoch)

    def stages(self) -> list[tuple[int, int, "TrainingConfig"]]:
        """First step, step after the last and configuration of each part."""
        return self._stages

    # Asked for at every step.
    @functools.cached_property
    def _stages(self):
        if not self.progression:
            return [(0, self.steps, self)]
        firsts = [0, *(part["step"] for part in self.progression)]
        ends = [*firsts[1:], self.steps]
        configs = [dataclasses.replace(self, progression=[])]
        for part in self.progression:
            changes = {k: v for k, v in part.items() if k != "step"}
            configs.append(dataclasses.replace(configs[-1], **changes))
        return list(zip(firsts, ends, configs, strict=True))

    def at(self, step: int) -> "TrainingConfig":
        """The configuration of the part that a step belongs to.

        Args:
            step: steps before it.
        """
        stages = self.stages()
        return [config for first, _, config in stages if first <= step][-1]

    def make_loss(self) -> keras.losses.Loss:
        """The loss that `loss` names."""
        return _LOSSES[self.loss]()

    def make_optimizer(self, learning_rate) -> keras.optimizers.Optimizer:
        """The optimizer that `optimizer` names.

        Args:
            learning_rate: a number or a schedule.
        """
        return _OPTIMIZERS[self.optimizer](
            learning_rate,
            global_clipnorm=self.clip_norm,
            use_ema=self.ema_momentum > 0,
            ema_momentum=self.ema_momentum,
            steering_lr_ratio=self.steering_lr_ratio,
            steering_start=self.steering_start,
        )

    @classmethod
    def from_toml(cls, path: str | os.PathLike, **overrides):
        """Reads a configuration.

        Args:
            path: a TOML file whose keys are the attributes of the class.
            **overrides: values that replace the file's, unless `None`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not TOML, or a key or value is not known.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no configuration file {path}.")
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not valid TOML: {error}.") from error
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := values.keys() - known:
            raise ValueError(
                f"{path} has unknown keys: {sorted(unknown)}. "
                f"Known: {sorted(known)}."
            )
        paths = list(_FOLDERS)
        if str(values.get("start", "")).endswith(".keras"):
            paths.append("start")
        if values.get("encoder_weights") not in _ENCODERS:
            paths.append("encoder_weights")
        for key in paths:
            if isinstance(values.get(key), str):
                values[key] = str(path.parent / values[key])
        values |= {k: v for k, v in overrides.items() if v is not None}
        return cls(**values)
