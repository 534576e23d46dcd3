"""What a configuration trains and is validated on."""

from keras_radn.datasets import (
    BlurStrength,
    ImagePairs,
    PatchSource,
    SyntheticBlur,
    VideoBlur,
    gopro_pairs,
)
from keras_radn.training.config import TrainingConfig


def training_sources(config: TrainingConfig) -> list[PatchSource]:
    """What a training draws its patches from.

    Args:
        config: the configuration.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: if an argument of the blur's strength is not known.
    """
    strength = blur_strength(config)
    sources = []
    if config.gopro:
        blur = config.blur or "blur"
        pairs = gopro_pairs(config.gopro, "train", blur)
        pairs.reduction = config.pairs_reduction
        sources.append(pairs)
    if config.pairs:
        sources.append(
            ImagePairs(config.pairs, config.blur, config.pairs_reduction)
        )
    if config.videos:
        sources.append(VideoBlur(config.videos, strength))
    if config.stills:
        sources.append(
            SyntheticBlur(config.stills, strength, config.candidates)
        )
    return sources


def source_shares(config: TrainingConfig) -> list[float]:
    """The share of each of the `training_sources` in the patches.

    Args:
        config: the configuration.
    """
    shares, rest = [], 1.0
    if config.gopro or config.pairs:
        others = config.stills or config.videos
        shares.append(config.pairs_share if others else 1.0)
        rest -= shares[-1]
    if config.videos:
        share = config.videos_share if config.stills else 1.0
        shares.append(rest * share)
        rest -= shares[-1]
    if config.stills:
        shares.append(rest)
    return shares


def blur_strength(config: TrainingConfig) -> BlurStrength:
    """The blur that `strength` describes.

    Args:
        config: the configuration.

    Raises:
        ValueError: if an argument is not known.
    """
    try:
        return BlurStrength(**config.strength)
    except TypeError as error:
        raise ValueError(
            f"`strength` has an unknown entry: {error}."
        ) from error


def validation_pairs(config: TrainingConfig) -> ImagePairs | None:
    """What a training is validated on.

    Args:
        config: the configuration.

    Raises:
        FileNotFoundError: if the folder is missing or empty.
    """
    if config.validation:
        return ImagePairs(config.validation, config.validation_blur)
    if config.gopro:
        return gopro_pairs(config.gopro, "test", config.blur or "blur")
    return None
