"""What the command does before its actual work."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from keras_radn.cli.main import command_parser, main
from keras_radn.system.interruption import leaving_on_interrupt

COMMAND = (sys.executable, "-m", "keras_radn")


def start(*arguments, **variables):
    """Starts the command in an environment that does not silence TensorFlow."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "TF_CPP_MIN_LOG_LEVEL"
    }
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | variables,
    )


LOADED = """
import sys
sys.argv[:] = {argv}
{code}
print(*sorted({{"keras", "tensorflow"}} & set(sys.modules)))
"""


def loaded_by(code, argv=("-c",)):
    """Returns which of Keras and TensorFlow a new process has imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(argv=list(argv), code=code)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("argv", [["train.py"], ["keras-radn", "info"], []])
def test_importing_the_package_imports_no_keras(argv):
    """This does not depend on the program that imports it."""
    assert loaded_by("import keras_radn; dir(keras_radn)", argv) == []


WORDS = [
    (["--help"], 0, "Removes motion blur from photographs."),
    (["--version"], 0, version("keras-radn")),
    *(
        ([name, "--help"], 0, f"usage: keras-radn {name}")
        for name in command_parser()._subparsers._group_actions[0].choices
    ),
    ([], 2, "usage"),
    (["deblur", "a.png"], 2, "-o/--output"),
    (["deblur", "a", "-o", "b", "--preset", "x"], 2, "invalid choice"),
    (["models", "--size", "0"], 2, "at least 1"),
    (["deblur", "a", "-o", "b", "--workers", "2"], 2, "with --ray"),
    (
        ["deblur", "a", "-o", "b", "--tile", "99", "--overlap", "64"],
        2,
        "a third of --tile",
    ),
    (["evaluate", "a", "--csv", "no/a.csv"], 1, "no such folder"),
    (
        ["export", "--format", "onnx", "-o", "a", "--version", "1"],
        2,
        "goes with --format saved_model",
    ),
]
RUN_ALL = f"""
import contextlib, io
from keras_radn.cli.main import main
for arguments, status, text in {WORDS!r}:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            found = main(arguments)
        except SystemExit as end:
            found = end.code or 0
    assert found == status, (arguments, found)
    assert text in output.getvalue(), (arguments, output.getvalue())
"""


def test_help_and_wrong_words_need_no_keras():
    assert loaded_by(RUN_ALL) == []


KNOWN = """
for name in (
    *("RADN", "ResidualBaseline", "DeformableConv2D", "Charbonnier"),
    *("PSNR", "ConvMuon", "WarmupStableDecay"),
):
    found = keras.saving.get_registered_object(f"keras_radn>{name}")
    assert found is not None, name
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import keras_radn, keras",
        "import keras, keras_radn",
        "import importlib.util; importlib.util.find_spec('keras'); "
        "import keras_radn, keras",
        "import keras_radn.models.presets, keras",
        "from keras_radn.models import RADN; import keras",
        "from keras_radn.inference import Deblurrer; import keras",
        "from keras_radn.layers import CropLike; import keras_radn, keras; "
        "keras_radn.RADN",
    ],
)
def test_keras_knows_the_classes(imports):
    """The order of the imports does not matter."""
    assert loaded_by(f"{imports}\n{KNOWN}") == ["keras", "tensorflow"]


@pytest.mark.slow
def test_nothing_but_the_answer():
    process = start("info")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("keras-radn:")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "configuration", "message"),
    [
        ({"KERAS_BACKEND": "none"}, "", "Unable to import backend : none"),
        ({"KERAS_BACKEND": "openvino"}, "", "KERAS_BACKEND to tensorflow"),
        ({}, '{"image_data_format": "channels_first"}', "channels_last"),
        ({}, '{"image_data_format": "none"}', "keras.json"),
    ],
)
def test_keras_is_set_up_otherwise(variables, configuration, message, tmp_path):
    (tmp_path / "keras.json").write_text(configuration)
    process = start("info", KERAS_HOME=str(tmp_path), **variables)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith("keras-radn: error: ")
    assert message in err


@pytest.mark.slow
@pytest.mark.parametrize("module", ["numpy", "tensorflow", "h5py", "psutil"])
def test_an_interrupt_while_modules_are_imported(module):
    """The signal arrives once the module's first file is in memory."""
    process = start("models")
    maps = Path(f"/proc/{process.pid}/maps")
    end = time.monotonic() + 60
    while f"/{module}" not in maps.read_text() and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (
        130,
        "",
        "keras-radn: interrupted\n",
    )


@contextlib.contextmanager
def handler_of_interrupts():
    # In the background of a shell it is ignored from the start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# There is no such folder.
TRAIN = ["train", "--config", "short", "--stills", "no/such", "-o", "no/run"]


@pytest.mark.parametrize(
    ("command", "status", "chosen", "expected"),
    [
        (TRAIN, 1, None, "1"),
        (TRAIN, 1, "0", "0"),
        (["ablate", "--table", "1", *TRAIN[1:]], 1, None, "1"),
        (["info"], 0, None, None),
        (["info"], 0, "1", "1"),
    ],
)
def test_only_training_has_onednn_s_convolutions(
    command, status, chosen, expected, monkeypatch
):
    """Some of large images are very slow without AVX-512."""
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", chosen)
    assert main(command) == status
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected


def test_interrupts_while_modules_are_imported_and_after():
    with handler_of_interrupts():
        with leaving_on_interrupt("interrupted"):
            handler = signal.getsignal(signal.SIGINT)
            assert handler is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as by nohup
        with leaving_on_interrupt("interrupted"):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
