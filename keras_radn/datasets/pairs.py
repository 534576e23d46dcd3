import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_radn.datasets.image_files import cached_rgb, list_images, read_rgb
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

# RealBlur's lists of its halves, beside the folders of all images.
_LISTS = "RealBlur_*_list.txt"

# HIDE's folders of blurred images, and the one beside them with all partners.
_HIDE, _HIDE_SHARP = ("train", "test"), "GT"


def find_pairs(
    root: str | os.PathLike, blur: str | None = None
) -> list[tuple[Path, Path]]:
    """The pairs of blurred and sharp images below a folder or in a list.

    A blurred image has a folder of a known name on its way (`blur`, `input`,
    `train_blur`, ...) where its partner has another (`sharp`, `target`, `gt`,
    `train_sharp`, ...), with all else alike; but the file `blur_1.png` may
    belong to `gt_1.png` (RealBlur). Without any of these names on its way, an
    image below `train` or `test` belongs to the one of its name in a folder
    `GT` beside that (HIDE). So the folders of GoPro, REDS, HIDE and RealBlur
    are read as they are unpacked.

    A list is a text file with a pair on each line, the sharp image first, as
    paths from the list's folder: `RealBlur_J_test_list.txt` and others, which
    alone tell the halves of RealBlur apart. Names may have spaces: of these the
    one counts that is between two files, unless there is a tab or the names are
    in quotation marks.

    Args:
        root: the folder, or the list.
        blur: name of the folders to take blurred images from, with HIDE also
            `train` or `test`; `None` for all known names but `blur_gamma`.
            A list needs none.

    Returns:
        Paths `(blurred, sharp)`, sorted; those of a list in its order. Warns
        if a folder has lists of the halves of RealBlur.

    Raises:
        FileNotFoundError: if there are no pairs or a partner is missing.
        ValueError: if `blur` is not a known name, the list is not text in
            UTF-8, or a line of it has not two paths.

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
    if root.is_file():
        return _listed_pairs(root)
    if lists := sorted(root.glob(_LISTS)):
        warnings.warn(
            f"{root} holds all images of RealBlur, those of both halves; "
            f"{', '.join(path.name for path in lists)} have one each: give the "
            "path of a list in place of the folder.",
            stacklevel=2,
        )
    names = {blur} if blur else known - {"blur_gamma"}
    # The partners of a half of HIDE are beside it.
    is_half = root.name in _HIDE and (root.parent / _HIDE_SHARP).is_dir()
    base = root.parent if is_half else root
    pairs = []
    for path in list_images(root):
        parts = path.relative_to(base).parts
        place = _telling_place(base, parts)
        if place is not None and parts[place] in names:
            pairs.append((path, _partner(base, parts, place)))
    if not pairs:
        raise FileNotFoundError(
            f"There are no pairs in {root}: no folder of blurred images "
            f"({', '.join(sorted(names))})."
        )
    return pairs


def _listed_pairs(path):
    pairs = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} must be a text file (UTF-8) with a pair on each line."
        ) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"Line {number} of {path}"
            sharp, blurred = _listed_pair(line.strip(), path.parent, place)
            pairs.append((blurred, sharp))
    if not pairs:
        raise FileNotFoundError(f"There are no pairs in {path}: it is empty.")
    return pairs


def _listed_pair(line, folder, place):
    """Splits a line into two paths, at a tab or at one of its spaces."""
    if '"' in line:
        name = r'(?:"([^"]+)"|([^\s"]+))'
        quoted = re.fullmatch(rf"{name}\s+{name}", line)
        splits = [filter(None, quoted.groups())] if quoted else []
    else:
        gaps = re.finditer(r"\t+" if "\t" in line else r"\s+", line)
        splits = [(line[: gap.start()], line[gap.end() :]) for gap in gaps]
    splits = [tuple(folder / name for name in split) for split in splits]
    if not splits:
        raise ValueError(
            f"{place} must have the paths of a sharp and of a blurred image. "
            f"Received: {line[:200]!r}"
        )
    found = [pair for pair in splits if all(map(Path.is_file, pair))]
    if len(found) == 1:
        return found[0]
    if not found and len(splits) == 1:
        missing = next(name for name in splits[0] if not name.is_file())
        raise FileNotFoundError(f"{place}: there is no file {missing}.")
    error = ValueError if found else FileNotFoundError
    raise error(
        f"{place}: {'several pairs' if found else 'no pair'} of files can be "
        "meant; put names with spaces in quotation marks, or a tab between "
        f"them. Received: {line[:200]!r}"
    )


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
        root: a folder with blurred and sharp images, or a list of them; see
            `find_pairs`.
        blur: see `find_pairs`.
        reduction: patches are reduced by a random factor from 1 to this, both
            images alike, which keeps the blur real and makes it shorter.

    Raises:
        FileNotFoundError: if there are no pairs or a partner is missing.
        ValueError: as `find_pairs`, or if `reduction` is less than 1.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        blur: str | None = None,
        reduction: float = 1.0,
    ):
        if not reduction >= 1:
            raise ValueError(
                f"`reduction` must be at least 1. Received: {reduction!r}"
            )
        self.root = Path(root)
        self.reduction = reduction
        pairs = find_pairs(root, blur)
        self.blurred: Sequence[Path] = [blurred for blurred, _ in pairs]
        self.sharp: Sequence[Path] = [sharp for _, sharp in pairs]
        self._one_folder = len({path.parent for path in self.blurred}) == 1

    def __len__(self) -> int:
        return len(self.blurred)

    def name(self, index: int) -> str:
        """Name of a pair: its file, with folders if there are several."""
        path = self.blurred[index]
        if self._one_folder:
            return path.name
        folder = self.root.parent if self.root.is_file() else self.root
        inside = path.is_relative_to(folder)  # not an absolute path of a list
        return str(path.relative_to(folder) if inside else path)

    def whole(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Both images of a pair, uint8 `(height, width, 3)`.

        Raises:
            ValueError: if a file is not an image or the sizes differ.
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
            ValueError: if a file is not an image, the sizes differ, or the
                images are smaller than the patch.
        """
        pair = self.whole(index)
        require_size(self.blurred[index], pair[0], size)
        height, width = pair[0].shape[:2]
        side = size
        if self.reduction > 1:
            most = min(self.reduction, min(height, width) / size)
            side = round(size * rng.uniform(1, most))
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        window = np.s_[top : top + side, left : left + side]
        return tuple(_reduced(image[window], size) for image in pair)

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


def _reduced(patch, size):
    if len(patch) == size:
        return patch
    image = Image.fromarray(patch)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
