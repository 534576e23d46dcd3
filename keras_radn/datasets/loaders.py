"""Data sets for `model.fit`, an epoch long, and for evaluation."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_radn.datasets.blur_synthesis import SyntheticBlur
from keras_radn.datasets.camera import BlurStrength
from keras_radn.datasets.image_files import SUFFIXES, find_files
from keras_radn.datasets.pairs import ImagePairs
from keras_radn.datasets.patches import JoinedSources, PatchSource, augment
from keras_radn.datasets.tensors import as_tensors, import_tensorflow
from keras_radn.datasets.video import SUFFIXES as VIDEO_SUFFIXES
from keras_radn.datasets.video import VideoBlur

if TYPE_CHECKING:
    import tensorflow as tf

_GOPRO_SIZES = {"train": 2103, "test": 1111}


def gopro(
    root: str | os.PathLike,
    split: str = "train",
    blur: str = "blur",
    patch_size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    deterministic: bool = True,
) -> "tf.data.Dataset":
    """The GoPro set (GOPRO_Large; Nah et al., CVPR 2017).

    Args:
        root: the folder that holds `train` and `test`, as it is unpacked:
            `train/GOPR0372_07_00/{blur,blur_gamma,sharp}/000047.png`.
        split: `"train"` gives patches as `image_pairs` does, `"test"` whole
            images, one by one, in the order of their names.
        blur: `"blur"` (frames averaged in the video's own values) or
            `"blur_gamma"` (averaged in linear light).
        patch_size: side of the patches; the paper's is 256.
        batch_size: patches per batch; the paper's is 16.
        seed: of order, patches and augmentation.
        deterministic: whether two data sets of one seed are equal; `False`
            lets slow images wait.

    Returns:
        A dataset of `(blurred, sharp)`, float32 in [0, 1]:
        `(batch_size, patch_size, patch_size, 3)`, or `(1, height, width, 3)`.
        Warns if the split is not complete.

    Raises:
        FileNotFoundError: if the set is not there or a partner is missing.
        ValueError: if an argument is not known.

    Example:

    ```python
    from keras_radn import datasets

    train = datasets.gopro("GOPRO_Large")
    test = datasets.gopro("GOPRO_Large", split="test")
    ```
    """
    pairs = gopro_pairs(root, split, blur)
    if split == "test":
        return whole_images(pairs)
    return _patches(pairs, patch_size, batch_size, seed, deterministic)


def gopro_pairs(
    root: str | os.PathLike, split: str, blur: str = "blur"
) -> ImagePairs:
    """The pairs of one half of the GoPro set; see `gopro`.

    Args:
        root: the folder that holds `train` and `test`.
        split: `"train"` or `"test"`.
        blur: `"blur"` or `"blur_gamma"`.

    Returns:
        The pairs. Warns if they are not complete.

    Raises:
        FileNotFoundError: if the set is not there or a partner is missing.
        ValueError: if an argument is not known.

    Example:

    ```python
    from keras_radn import datasets

    pairs = datasets.gopro_pairs("GOPRO_Large", "train")
    print(len(pairs))
    ```
    """
    if split not in _GOPRO_SIZES or blur not in ("blur", "blur_gamma"):
        raise ValueError(
            '`split` must be "train" or "test", and `blur` "blur" or '
            f'"blur_gamma". Received: split={split!r}, blur={blur!r}'
        )
    folder = Path(root) / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder}. Get GOPRO_Large from "
            "https://seungjunnah.github.io/Datasets/gopro and unpack it, so "
            f"that {Path(root)} holds train/ and test/."
        )
    pairs = ImagePairs(folder, blur)
    if len(pairs) != _GOPRO_SIZES[split]:
        warnings.warn(
            f"{folder} has {len(pairs)} pairs, the GoPro set "
            f"{_GOPRO_SIZES[split]}: results will not compare with others.",
            stacklevel=3,
        )
    return pairs


def image_pairs(
    root: str | os.PathLike,
    blur: str | None = None,
    patch_size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    deterministic: bool = True,
) -> "tf.data.Dataset":
    """Patches of real pairs: GoPro, REDS, HIDE, RealBlur or one's own.

    An epoch has a random patch of each pair, in random order, flipped and
    rotated by right angles at random; the next epoch has others.

    Args:
        root: a folder with blurred and sharp images; see `find_pairs`.
        blur: name of the folders of blurred images, or `None`.
        patch_size: side of the patches in pixels.
        batch_size: patches per batch; what is left of an epoch is dropped.
        seed: of order, patches and augmentation.
        deterministic: see `gopro`.

    Returns:
        A dataset of `(blurred, sharp)`, float32
        `(batch_size, patch_size, patch_size, 3)` in [0, 1].

    Raises:
        FileNotFoundError: if there are no pairs or a partner is missing.
        ValueError: if there are fewer pairs than a batch has.

    Example:

    ```python
    from keras_radn import datasets

    batches = datasets.image_pairs("GOPRO_Large/train", batch_size=8)
    ```
    """
    pairs = ImagePairs(root, blur)
    return _patches(pairs, patch_size, batch_size, seed, deterministic)


def synthetic_blur(
    sharp: str | os.PathLike,
    patch_size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    deterministic: bool = True,
    strength: BlurStrength | None = None,
) -> "tf.data.Dataset":
    """Patches of sharp photographs and videos, blurred by motion.

    An epoch has a patch of each photograph and 16 of each video; see
    `synthetic_source`.

    Args:
        sharp: a folder of sharp photographs, videos or both.
        patch_size: side of the patches in pixels.
        batch_size: patches per batch; what is left of an epoch is dropped.
        seed: of photographs, blur and augmentation.
        deterministic: see `gopro`.
        strength: distributions of the blur.

    Returns:
        A dataset of `(blurred, sharp)`, float32
        `(batch_size, patch_size, patch_size, 3)` in [0, 1].

    Raises:
        FileNotFoundError: if there are neither images nor videos.
        ImportError: if there are videos and PyAV is not installed.
        ValueError: if an epoch has fewer patches than a batch.

    Example:

    ```python
    from keras_radn import datasets

    batches = datasets.synthetic_blur("photos", patch_size=128, batch_size=2)
    ```
    """
    source = synthetic_source(sharp, strength)
    return _patches(source, patch_size, batch_size, seed, deterministic)


def synthetic_source(
    root: str | os.PathLike, strength: BlurStrength | None = None
) -> PatchSource:
    """The source of blur made from a folder of photographs, videos or both.

    Every photograph has one entry and every video 16 (see `VideoBlur`): a
    random patch comes from a video 16 times as often as from a photograph.

    Args:
        root: a folder; looked through with all that is below.
        strength: distributions of the blur.

    Returns:
        A `SyntheticBlur`, a `VideoBlur` or both joined.

    Raises:
        FileNotFoundError: if there are neither images nor videos.
        ImportError: if there are videos and PyAV is not installed.

    Example:

    ```python
    from keras_radn import datasets

    source = datasets.synthetic_source("photos")
    print(len(source))
    ```
    """
    sources: list[PatchSource] = []
    if find_files(root, SUFFIXES):
        sources.append(SyntheticBlur(root, strength))
    if find_files(root, VIDEO_SUFFIXES):
        sources.append(VideoBlur(root, strength))
    if not sources:
        raise FileNotFoundError(
            f"There are no images ({', '.join(SUFFIXES)}) and no videos "
            f"({', '.join(VIDEO_SUFFIXES)}) in {root}."
        )
    return sources[0] if len(sources) == 1 else JoinedSources(sources)


def whole_images(pairs: ImagePairs) -> "tf.data.Dataset":
    """All pairs in the order of their names.

    Args:
        pairs: what to load; read when the data set is run through.

    Returns:
        A dataset of `(blurred, sharp)`, float32 `(1, height, width, 3)` in
        [0, 1].

    Example:

    ```python
    from keras_radn import datasets

    pairs = datasets.ImagePairs("GOPRO_Large/train")
    for blurred, sharp in datasets.whole_images(pairs).take(1):
        print(blurred.shape)
    ```
    """

    tf = import_tensorflow()

    def read(index):
        return np.stack(pairs.whole(int(index)))

    return (
        tf.data.Dataset.range(len(pairs))
        .map(as_tensors(read, None), num_parallel_calls=2)
        .batch(1)
        .prefetch(1)
    )


def _patches(source, patch_size, batch_size, seed, deterministic):
    if len(source) < batch_size:
        raise ValueError(
            f"There are fewer images than a batch has patches. Received: "
            f"{len(source)} images, batch_size={batch_size}; pass a "
            f"`batch_size` of at most {len(source)}, or more images"
        )

    def draw(index, number):
        rng = np.random.default_rng([seed, int(number)])
        return augment(source.patch(int(index), rng, patch_size), rng)

    tf = import_tensorflow()
    # New numbers, and a new order, in each epoch.
    order = tf.data.Dataset.range(len(source)).shuffle(
        len(source), seed=seed, reshuffle_each_iteration=True
    )
    numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    return (
        tf.data.Dataset.zip(order, numbers)
        .map(
            as_tensors(draw, patch_size),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=deterministic,
        )
        .batch(batch_size, drop_remainder=True)
        .prefetch(2)
    )
