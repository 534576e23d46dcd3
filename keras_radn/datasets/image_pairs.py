import os
from pathlib import Path

import numpy as np

from keras_radn.datasets.files import list_images, read_rgb


class ImagePairs:
    """Random patches of real pairs: `root/blur/*` and `root/sharp/*`.

    Files of the same name belong together.

    Args:
        root: the folder that holds `blur` and `sharp`.

    Raises:
        FileNotFoundError: if a folder or a partner is missing.
    """

    def __init__(self, root: str | os.PathLike):
        root = Path(root)
        self.blurred = list_images(root / "blur")
        self.sharp = [
            root / "sharp" / path.relative_to(root / "blur")
            for path in self.blurred
        ]
        for path in self.sharp:
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} is missing: each file in {root / 'blur'} needs a "
                    "sharp partner of the same name."
                )

    def __len__(self) -> int:
        return len(self.blurred)

    def whole(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Both images of a pair, uint8 `(height, width, 3)`.

        Raises:
            ValueError: if a file is no image or the sizes differ.
        """
        blurred, sharp = self.blurred[index], self.sharp[index]
        pair = read_rgb(blurred), read_rgb(sharp)
        if pair[0].shape != pair[1].shape:
            raise ValueError(
                f"{blurred} and {sharp} differ in size: {pair[0].shape[:2]} "
                f"and {pair[1].shape[:2]}."
            )
        return pair

    def sample(
        self, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random patch of a random pair.

        Args:
            rng: source of randomness.
            size: side of the patch in pixels.

        Returns:
            Blurred and sharp patch, uint8 `(size, size, 3)`.

        Raises:
            ValueError: if the image is smaller than the patch.
        """
        index = int(rng.integers(len(self)))
        pair = self.whole(index)
        height, width = pair[0].shape[:2]
        if min(height, width) < size:
            raise ValueError(
                f"{self.blurred[index]} is smaller than the patch: "
                f"{width}x{height} pixels for patches of {size}."
            )
        top = int(rng.integers(height - size + 1))
        left = int(rng.integers(width - size + 1))
        window = np.s_[top : top + size, left : left + size]
        return pair[0][window], pair[1][window]
