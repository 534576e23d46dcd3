"""The examples in the docstrings of public names."""

import importlib
import inspect
import os
import re

import keras
import numpy as np
import pytest
from PIL import Image, ImageChops

import keras_radn
from keras_radn.inference import deblurrer
from tests.conftest import TINY_RADN

MODULES = (
    *("", ".inference", ".models", ".layers", ".ops", ".losses", ".metrics"),
    *(
        ".optimizers",
        ".datasets",
        ".training",
        ".export",
        ".visualize",
        ".peers",
    ),
)

# Results, data, base classes, and what trains several networks.
WITHOUT = {"Exported", "OffsetField", "Report", "CLASSICAL", "PatchSource"} | {
    *("BlurStrength", "ImagePairs", "JoinedSources", "VideoBlur"),
    *("ablate", "compare"),
}
# They take days, or a video, a cluster or files that tests of their own have.
NOT_RUN = {"train", "train_in_processes", "load_published"} | {
    *("deblur_video", "deblur_on_ray"),
}


def public():
    """Returns each public object once, with its name."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"keras_radn{name}")
        names = getattr(module, "__all__", None) or [
            n
            for n, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        ]
        found |= {n: getattr(module, n) for n in names}
    return {n: v for n, v in found.items() if not inspect.ismodule(v)}


def examples(value):
    return re.findall(
        r"```python\n(.*?)```", inspect.getdoc(value) or "", re.DOTALL
    )


def test_all_but_a_few_public_names_have_examples():
    without = {name for name, value in public().items() if not examples(value)}
    assert without == WITHOUT


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photo):
    """A folder with the files that the examples name."""
    root = tmp_path_factory.mktemp("examples")
    image = Image.fromarray(photo[:70, 180:260])
    image.save(root / "blurred.jpg")
    for path in ("photos", "models", "run"):
        (root / path).mkdir()
    for split, count in {"train": 16, "test": 1}.items():
        for kind, shift in {"blur": 1, "sharp": 0}.items():
            path = root / "GOPRO_Large" / split / "a" / kind
            path.mkdir(parents=True)
            moved = ImageChops.offset(image, shift)
            for number in range(count):
                moved.save(path / f"{number}.png")
    for number in range(2):
        Image.fromarray(photo[:260, :260]).save(root / f"photos/{number}.jpg")
    (root / "run/log.csv").write_text("step,loss\n1,0.2\n2,0.1\n")
    return root


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the GoPro set:UserWarning")
@pytest.mark.parametrize("name", sorted(public().keys() - WITHOUT - NOT_RUN))
def test_example(name, folder, monkeypatch, photo):
    class Tiny(keras_radn.RADN):
        """Replaces the large network."""

        def __init__(self, pretrained=False, encoder_weights=None, **kwargs):
            assert encoder_weights is None
            super().__init__(**TINY_RADN)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(keras_radn, "RADN", Tiny)
    monkeypatch.setattr(deblurrer, "_packaged", lambda *_: Tiny())
    image = photo[:70, 180:260].astype("float32") / 255
    names = {
        "keras": keras,
        "keras_radn": keras_radn,
        "np": np,
        "image": image,
        "images": image[np.newaxis],
        "blurred": image if name == "Inspection" else image[np.newaxis],
        "sharp_bytes": photo[:70, 180:260],
        "blurred_bytes": photo[:70, 181:261],
    }
    before = set(os.listdir())
    for code in examples(public()[name]):
        exec(code, names)
    # The shapes that comments promise.
    shapes = re.findall(r"^(\w+) = .*  # (\(\d[\d, ]+\))$", code, re.MULTILINE)
    for variable, shape in shapes:
        assert str(tuple(names[variable].shape)) == shape
    written = re.findall(r'save\w*\("(\S+)"\)', code)
    assert set(written) <= set(os.listdir()) - before
