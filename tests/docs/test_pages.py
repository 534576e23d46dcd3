"""README and guides: their code runs, their commands and links are right."""

import importlib.util
import json
import os
import re
import shlex
from pathlib import Path

import av
import keras
import mktestdocs
import numpy as np
import pytest
from PIL import Image, ImageChops

import keras_radn
from keras_radn.cli.main import command_parser
from keras_radn.models.presets import DEFAULT_PRESET, RADN_PRESETS
from keras_radn.peers.figures import AUTHORS_PSNR, CLASSICAL, TABLE_1
from tests.conftest import TINY_RADN

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md", *GUIDES]
# Beside the guides: what a reader meets in the repository.
TEXTS = [
    path
    for pattern in ("*.md", "*/README.md", "keras_radn/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if ".venv" not in path.parts
]
# Train or export, where the packaged network would take a minute to be traced.
TRAINING = ("export.md", "getting_started.md", "training.md")


def named(path):
    return str(path.relative_to(ROOT))


def shell_commands(path):
    """Returns the commands of a page's shell blocks as lists of words."""
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    # Variables of the environment may stand before the command.
    return [
        words[next(i for i, w in enumerate(words) if "=" not in w) :]
        for words in commands
        if words
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photo):
    """A folder with the files that the pages name."""
    root = tmp_path_factory.mktemp("pages")
    image = Image.fromarray(photo[:70, 180:260])
    image.save(root / "blurred.jpg")
    (root / "photos").mkdir()
    image.save(root / "photos" / "a.jpg")
    for pairs in (root / "PAIRS", root / "GOPRO_Large" / "train" / "a"):
        for kind, shift in {"blur": 1, "sharp": 0}.items():
            (pairs / kind).mkdir(parents=True)
            for number in range(4):
                moved = ImageChops.offset(image, shift)
                moved.save(pairs / kind / f"{number}.png")
    with av.open(str(root / "clip.mp4"), "w") as clip:
        stream = clip.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(3):
            frame = np.ascontiguousarray(photo[i : 48 + i, 180:244])
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        clip.mux(stream.encode())
    return root


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the GoPro set:UserWarning")
# Keras says so of every `tf.data.Dataset`.
@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")
@pytest.mark.parametrize(
    "path", [p for p in PAGES if "```python" in p.read_text()], ids=named
)
def test_python_runs(path, folder, monkeypatch):
    class Tiny(keras_radn.RADN):
        """Replaces a larger network."""

        def __init__(self, pretrained=False, **kwargs):
            super().__init__(**TINY_RADN)

        @classmethod
        def from_preset(cls, preset, load_weights=True):
            return cls()

    if path.name in TRAINING:
        monkeypatch.setattr(keras_radn, "RADN", Tiny)
    monkeypatch.chdir(folder)
    before = set(os.listdir())
    mktestdocs.check_md_file(path, memory=True)
    written = re.findall(r'save\("(\S+)"\)', path.read_text())
    assert set(written) <= set(os.listdir())
    for name in set(os.listdir()) - before:
        if Path(name).is_file():
            os.remove(name)
    keras.utils.clear_session()


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "serving" / "README.md"], ids=named
)
def test_commands_are_accepted(path):
    parser = command_parser()
    for program, *arguments in shell_commands(path):
        if program == "keras-radn":
            parser.parse_args(arguments)
        elif program == "python" and arguments[0] not in ("-c", "-m"):
            assert (ROOT / arguments[0]).is_file()
        elif program == "make":
            assert f"\n{arguments[0]}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", GUIDES, ids=named)
def test_guides_begin_with_their_purpose_and_an_example(path):
    text = path.read_text()
    if text.startswith("--8<--"):
        return
    title, purpose, *_ = text.split("\n\n")
    assert title.startswith("# ")
    assert re.match(r"[A-Z].*\.$", purpose, re.DOTALL)
    assert "```" in text


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not target.startswith(("http:", "https:", "#")):
            file, _, anchor = target.partition("#")
            assert (path.parent / file).exists(), target
            if anchor:
                assert anchor in anchors(path.parent / file), target


def anchors(path):
    """Returns what may follow a `#` in a link to a page."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", t).lower().replace(" ", "-") for t in titles
    }


def test_the_readme_is_short_and_tells_what_the_presets_hold():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    row = next(line for line in lines if line.startswith("| `lite` |"))
    psnr = RADN_PRESETS[DEFAULT_PRESET]["weights"]["psnr"]
    assert f"{psnr['GoPro']:.2f} dB | {psnr['Kodak']:.2f} dB" in row
    assert f"{RADN_PRESETS['lite']['parameters'] / 1e6:.1f} M" in row


def test_all_pages_give_the_same_psnr():
    psnr = RADN_PRESETS[DEFAULT_PRESET]["weights"]["psnr"]
    gopro, kodak = f"{psnr['GoPro']:.2f}", f"{psnr['Kodak']:.2f}"
    card = (ROOT / "keras_radn/models/MODEL_CARD.md").read_text()
    assert re.search(rf"^\| `lite` \| {gopro} \|.*\| {kodak} \|", card, re.M)
    evaluation = (ROOT / "docs/guide/evaluation.md").read_text()
    for row, value in {"three GoPro pairs": gopro, "Kodak's 24": kodak}.items():
        pattern = rf"^\| mean of (the )?{row}[^|]*\|[^|]*\| {value} \|"
        assert re.search(pattern, evaluation, re.M)
    paper = (ROOT / "docs/guide/paper.md").read_text()
    assert f"| GoPro {gopro}, Kodak {kodak} |" in paper


def test_the_table_of_variants_tells_what_the_presets_hold():
    paper = (ROOT / "docs" / "guide" / "paper.md").read_text()
    for name, preset in RADN_PRESETS.items():
        size = f"{preset['parameters']:,} | {preset['gmac']:.2f}"
        assert f"\n| {name} | {size} |" in paper
        assert f"| {preset['description']} |\n" in paper


def test_every_picture_has_its_command():
    makefile = (ROOT / "Makefile").read_text()
    figures = makefile.partition("\nfigures:")[2].partition("\n\n")[0]
    scripts = re.findall(r"examples/\w+\.py", figures)
    # The card says how a training's log is drawn.
    sources = [*scripts, "keras_radn/models/MODEL_CARD.md"]
    text = "".join((ROOT / source).read_text() for source in sources)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.name in text


@pytest.fixture
def comparison():
    """examples/comparison.py, and the rows that it reads."""
    spec = importlib.util.spec_from_file_location(
        "comparison", ROOT / "examples" / "comparison.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, json.loads(module.FIGURES.read_text())


def test_the_guide_tells_what_was_compared(comparison):
    script, rows = comparison
    [part] = script.PART.findall(script.GUIDE.read_text())
    assert part == script.measured(rows)
    for row in rows:
        reported = {**TABLE_1, **CLASSICAL}.get(row["name"])
        if reported is not None:
            assert row["paper_psnr"] == reported.psnr
        assert row.get("authors_psnr") == AUTHORS_PSNR.get(row["name"])
        if row["name"] == "stack4_dmphn" and "to_reference" in row:
            ratio = f"{row['to_reference']:.1f} times as fast as"
            assert ratio in (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_a_comparison_is_drawn_and_written(comparison, tmp_path, monkeypatch):
    script, rows = comparison
    figures = {"to_reference": 1.0, "gmacs": 2.0, "peak_megabytes": 3.0}
    figures |= {"width": 1280, "height": 720, "dtype": "float32"}
    for row in rows:
        if row["name"] not in CLASSICAL:
            row |= {**figures, "seconds": 0.5, "to_reference": 1.25}
    files = {name: tmp_path / name for name in ("FIGURES", "GUIDE")}
    files["FIGURES"].write_text(json.dumps(rows))
    files["GUIDE"].write_text(script.GUIDE.read_text())
    for name, path in files.items():
        monkeypatch.setattr(script, name, path)
    script.main(tmp_path)
    [part] = script.PART.findall(files["GUIDE"].read_text())
    assert "1.2 times the time of RADN(Final)" in part
    assert part.count("\n| ") == 2 + len(rows) - len(CLASSICAL)
    before = (tmp_path / "accuracy_over_time.svg").read_text()
    assert "time measured here" in before
    assert "stack4_dmphn" in before
    assert "Whyte" not in before
    script.main(tmp_path)
    assert (tmp_path / "accuracy_over_time.svg").read_text() == before


def test_the_version_is_the_same_everywhere():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"', project, re.MULTILINE)[1]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version}\n" in citation
