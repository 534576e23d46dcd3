import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_radn.datasets.files import cached_rgb, list_images, read_rgb
from keras_radn.datasets.patches import PatchSource, require_size

# Names of folders with blurred images, and of those with their sharp partners.
_LAYOUTS = {
    "blur": ("sharp", "gt"),  # this package, GoPro, REDS; RealBlur
    "blur_gamma": ("sharp",),  # GoPro
    "train_blur": ("train_sharp",),  # REDS
    "val_blur": ("val_sharp",),
    "input": ("target", "gt"),
}
_KNOWN = {*_LAYOUTS, *(name for names in _LAYOUTS.values() for name in names)}

# HIDE's folders of blurred images, and the one beside them with all partners.
_HIDE, _HIDE_SHARP = ("train", "test"), "GT"


def find_pairs(
    root: str | os.PathLike, blur: str | None = None
) -> list[tuple[Path, Path]]:
    """The pairs of blurred and sharp images below a folder.

    A blurred image has a folder of a known name on its way (`blur`, `input`,
    `train_blur`, ...) where its partner has another (`sharp`, `target`, `gt`,
    `train_sharp`, ...), with all else alike; but the file `blur_1.png` may
    belong to `gt_1.png` (RealBlur). Without any of these names on its way, an
    image below `train` or `test` belongs to the one of its name in a folder
    `GT` beside that (HIDE). So the folders of GoPro, REDS, HIDE and RealBlur
    are read as they are unpacked.

    Args:
        root: the folder.
        blur: name of the folders to take blurred images from, with HIDE also
            `train` or `test`; `None` for all known names but `blur_gamma`.

    Returns:
        Paths `(blurred, sharp)`, sorted.

    Raises:
        FileNotFoundError: if there are no pairs or a partner is missing.
        ValueError: if `blur` is no known name.

    Example:

    ```python
    from keras_radn import datasets

    blurred, sharp = datasets.find_pairs("GOPRO_Large/train")[0]
    ```
    """
    root = Path(root)
    known = {*_LAYOUTS, *_HIDE}
    if blur is not None and blur not in known:
        raise ValueError(
            f"`blur` must be one of {sorted(known)}. Received: {blur!r}"
        )
    names = {blur} if blur else known - {"blur_gamma"}
    pairs = []
    for path in list_images(root):
        parts = path.relative_to(root).parts
        place = _telling_place(root, parts)
        if place is not None and parts[place] in names:
            pairs.append((path, _partner(root, parts, place)))
    if not pairs:
        raise FileNotFoundError(
            f"There are no pairs in {root}: no folder of blurred images "
            f"({', '.join(sorted(names))})."
        )
    return pairs


def _telling_place(root, parts):
    """Which of the folders tells whether an image is blurred, or `None`."""
    known = [i for i, name in enumerate(parts[:-1]) if name in _KNOWN]
    if known:
        return known[-1]
    hide = [
        i
        for i, name in enumerate(parts[:-1])
        if name in _HIDE and root.joinpath(*parts[:i], _HIDE_SHARP).is_dir()
    ]
    return hide[-1] if hide else None


def _partner(root, parts, place):
    *between, name = parts[place + 1 :]
    if parts[place] in _HIDE:
        ends = [(_HIDE_SHARP, name), (_HIDE_SHARP, *between, name)]
    else:
        ends = [
            (sharp, *between, partner)
            for sharp in _LAYOUTS[parts[place]]
            for partner in (name, name.replace(parts[place], sharp, 1))
        ]
    tried = dict.fromkeys(root.joinpath(*parts[:place], *end) for end in ends)
    for path in tried:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"The sharp partner of {root.joinpath(*parts)} is missing. Looked for: "
        f"{', '.join(map(str, tried))}."
    )


class ImagePairs(PatchSource):
    """Random patches of real pairs, in any layout of `find_pairs`.

    Args:
        root: a folder with blurred and sharp images.
        blur: see `find_pairs`.

    Raises:
        FileNotFoundError: if there are no pairs or a partner is missing.
    """

    def __init__(self, root: str | os.PathLike, blur: str | None = None):
        self.root = Path(root)
        pairs = find_pairs(root, blur)
        self.blurred: Sequence[Path] = [blurred for blurred, _ in pairs]
        self.sharp: Sequence[Path] = [sharp for _, sharp in pairs]
        self._one_folder = len({path.parent for path in self.blurred}) == 1

    def __len__(self) -> int:
        return len(self.blurred)

    def name(self, index: int) -> str:
        """Of a pair: its file, with folders if there are several."""
        path = self.blurred[index]
        if self._one_folder:
            return path.name
        return str(path.relative_to(self.root))

    def whole(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Both images of a pair, uint8 `(height, width, 3)`.

        Raises:
            ValueError: if a file is no image or the sizes differ.
        """
        return self._read(index, cached_rgb)

    def patch(
        self, index: int, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random patch of a pair.

        Args:
            index: which pair.
            rng: source of randomness.
            size: side of the patch in pixels.

        Returns:
            Blurred and sharp patch, uint8 `(size, size, 3)`.

        Raises:
            ValueError: if a file is no image, the sizes differ, or the images
                are smaller than the patch.
        """
        pair = self.whole(index)
        require_size(self.blurred[index], pair[0], size)
        height, width = pair[0].shape[:2]
        top = int(rng.integers(height - size + 1))
        left = int(rng.integers(width - size + 1))
        window = np.s_[top : top + size, left : left + size]
        return pair[0][window], pair[1][window]

    def check(self, index: int, size: int | None = None) -> None:
        """Reads a pair, whose images must be alike and as large as patches."""
        blurred, _ = self._read(index, read_rgb)
        require_size(self.blurred[index], blurred, size)

    def _read(self, index, read):
        blurred, sharp = self.blurred[index], self.sharp[index]
        pair = read(blurred), read(sharp)
        if pair[0].shape != pair[1].shape:
            raise ValueError(
                f"{blurred} and {sharp} differ in size: {pair[0].shape[:2]} "
                f"and {pair[1].shape[:2]}."
            )
        return pair
