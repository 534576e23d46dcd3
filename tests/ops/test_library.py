import hashlib
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn.layers import DeformableConv2D
from keras_radn.ops import deformable_conv2d, library, tracing


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forgets the loaded library and the environment variable."""
    monkeypatch.delenv(library.VARIABLE, raising=False)
    library._load.cache_clear()
    library._warn.cache_clear()
    yield
    library._load.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Makes an empty folder the place of the library."""
    monkeypatch.setattr(library, "folder", lambda: tmp_path)
    return tmp_path


def instruction_set(name):
    """Returns the instruction set of a new process that is told this name."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "from keras_radn.ops import library\n"
            "print(library.load().instruction_set)",
        ],
        env={**os.environ, "KERAS_RADN_CPU": name},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_instruction_set_of_the_environment():
    best = library.load().instruction_set
    assert instruction_set("portable") == "portable"
    # An unknown name is ignored.
    assert instruction_set("AVX2") == best


def small_call(implementation="auto"):
    return deformable_conv2d(
        tf.ones([1, 4, 4, 3]),
        tf.ones([1, 1, 3, 2]),
        tf.zeros([1, 4, 4, 2]),
        implementation=implementation,
    )


def put(folder, content, name=None, checksum=True):
    path = folder / (name or library.name(tf.__version__))
    path.write_bytes(content)
    if checksum:
        digest = hashlib.sha256(content).hexdigest()
        library.checksum_file(path).write_text(digest + "\n")
    return path


def missing(folder):
    return "was not built"


def of_another_tensorflow(folder):
    put(folder, b"", name="libdeformable_tf2.3.so")
    return r"was built for TensorFlow 2\.3, and this is TensorFlow 2\."


def damaged(folder):
    source = _installed()
    path = put(folder, source.read_bytes())
    path.write_bytes(source.read_bytes()[:-1000])
    return "is damaged"


def without_checksum(folder):
    put(folder, b"x", checksum=False)
    return "has no readable checksum"


def no_library(folder):
    put(folder, b"not an ELF file")
    return "does not fit this machine"


def of_another_machine(folder):
    elf = bytearray(_installed().read_bytes())
    elf[18:20] = (0xF3).to_bytes(2, "little")  # e_machine: RISC-V
    put(folder, bytes(elf))
    return "does not fit this machine"


def with_an_undefined_symbol(folder):
    """Builds a library as for another TensorFlow, under the right name."""
    source = folder / "source.c"
    source.write_text(
        "int no_such_symbol(); int x() { return no_such_symbol(); }"
    )
    built = folder / "built.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", source, "-o", built, "-Wl,-z,now"],
        check=True,
    )
    put(folder, built.read_bytes())
    return "does not fit this machine.*no_such_symbol"


def _installed():
    return _FOLDER() / library.name(tf.__version__)


_FOLDER = library.folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "break_it",
    [
        missing,
        of_another_tensorflow,
        damaged,
        without_checksum,
        no_library,
        of_another_machine,
        with_an_undefined_symbol,
    ],
)
def test_falls_back_and_says_why(break_it, folder):
    message = break_it(folder)
    with pytest.warns(UserWarning, match=message) as caught:
        outputs = small_call()
    assert "keras-radn build-ops" in str(caught[0].message)
    assert "KERAS_RADN_IMPLEMENTATION=gather" in str(caught[0].message)
    np.testing.assert_allclose(outputs, np.full([1, 4, 4, 2], 3))
    small_call()  # warns no second time
    with pytest.raises(ImportError, match=message):
        small_call("native")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_call("gather")


def test_native_is_the_default():
    assert library.choose() == "native"
    assert library.load().problem is None
    assert library.load().instruction_set in (
        *("amx", "avx512_bf16", "avx512"),
        *("avx2", "portable"),
    )


def test_loads_once_in_many_threads(monkeypatch):
    loads = []
    load = tf.load_op_library
    monkeypatch.setattr(
        tf, "load_op_library", lambda path: loads.append(path) or load(path)
    )
    with ThreadPoolExecutor(16) as pool:
        states = list(pool.map(lambda _: library.load(), range(64)))
    assert len(loads) == 1
    assert all(state is states[0] for state in states)


@pytest.mark.slow
def test_importing_the_package_does_not_load_it():
    code = (
        "import keras_radn\n"
        "keras_radn.RADN\n"
        "from keras_radn.ops import library\n"
        "print(library._load.cache_info().misses)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


def test_variable_comes_first(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "gather")
    assert library.choose("native") == "gather"
    monkeypatch.setenv(library.VARIABLE, "native")
    assert library.choose("gather") == "native"
    monkeypatch.setenv(library.VARIABLE, "fast")
    with pytest.raises(ValueError, match=r"KERAS_RADN_IMPLEMENTATION.*'fast'"):
        library.choose()


def test_forced_comes_before_the_variable(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "native")
    with tracing.options(implementation="gather"):
        assert library.choose("native") == "gather"
    assert library.choose("gather") == "native"


def test_unknown_implementation():
    with pytest.raises(ValueError, match="'fast'"):
        small_call("fast")
    with pytest.raises(ValueError, match="'fast'"):
        DeformableConv2D(4, implementation="fast")


def test_xla_gets_gather():
    compiled = tf.function(small_call, jit_compile=True)
    np.testing.assert_allclose(compiled(), np.full([1, 4, 4, 2], 3))
    with pytest.raises(ValueError, match="XLA cannot compile"):
        compiled("native")


def test_layer_tells_keras_about_xla(folder, monkeypatch):
    assert DeformableConv2D(4, implementation="gather").supports_jit
    with pytest.warns(UserWarning, match="was not built"):
        layer = DeformableConv2D(4)
    assert layer.supports_jit
    monkeypatch.setattr(library, "folder", _FOLDER)
    library._load.cache_clear()
    layer.implementation = "native"
    assert not layer.supports_jit
    assert not DeformableConv2D(4).supports_jit


@pytest.mark.slow
@pytest.mark.parametrize("saved", ["native", "gather"])
def test_saved_with_one_loads_with_the_other(saved, tmp_path, monkeypatch, rng):
    other = {"native": "gather", "gather": "native"}[saved]
    monkeypatch.setenv(library.VARIABLE, saved)
    inputs = keras.Input([None, None, 3])
    layer = DeformableConv2D(4, implementation=saved)
    model = keras.Model(inputs, layer(inputs))
    layer.offset_conv.kernel.assign(rng.normal(size=(3, 3, 3, 18)))
    image = rng.normal(size=(1, 9, 8, 3)).astype("float32")
    expected = model.predict(image, verbose=0)
    model.save(tmp_path / "model.keras")
    monkeypatch.setenv(library.VARIABLE, other)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].implementation == saved
    np.testing.assert_allclose(
        loaded.predict(image, verbose=0), expected, rtol=1e-5, atol=1e-5
    )


def test_native_model_loads_without_the_library(tmp_path, monkeypatch):
    model = keras.Sequential(
        [keras.Input([5, 5, 3]), DeformableConv2D(2, implementation="native")]
    )
    model.save(tmp_path / "model.keras")
    library._load.cache_clear()
    monkeypatch.setattr(library, "folder", lambda: tmp_path)
    monkeypatch.setenv(library.VARIABLE, "gather")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.predict(np.ones([1, 5, 5, 3]), verbose=0).shape == (
        1,
        5,
        5,
        2,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        ("float32", 1e-4),
        ("float64", 1e-9),
        ("mixed_bfloat16", 2e-2),
        ("mixed_float16", 5e-3),
    ],
)
def test_fit_gives_the_same_weights(dtype, tolerance, rng, monkeypatch):
    images = rng.normal(size=(8, 12, 10, 6)).astype("float32")
    targets = rng.normal(size=(8, 12, 10, 3)).astype("float32")
    trained = {}
    for implementation in ("native", "gather"):
        monkeypatch.setenv(library.VARIABLE, implementation)
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input([None, None, 6]),
                DeformableConv2D(4, modulated=True, dtype=dtype),
                DeformableConv2D(8, offset_groups=2, dtype=dtype),
                keras.layers.Conv2D(3, 1, dtype=dtype),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1), "mse")
        history = model.fit(
            images, targets, batch_size=4, epochs=3, shuffle=False, verbose=0
        )
        assert history.history["loss"][-1] < history.history["loss"][0]
        trained[implementation] = model.get_weights()
    for native, gather in zip(*trained.values(), strict=True):
        np.testing.assert_allclose(native, gather, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projection": tf.zeros([1, 4, 4, 7])}, r"projection must have"),
        ({"offset": tf.zeros([1, 4, 3, 18])}, r"offset must have the shape"),
        ({"mask": [tf.zeros([1, 4, 4, 8])]}, r"mask must have the shape"),
        ({"mask": [tf.zeros([1, 4, 4, 9])] * 2}, r"There can be one mask"),
        ({"strides": [0, 1]}, r"strides must be 2 positive integers"),
        ({"dilations": [1, 1, 1]}, r"dilations must be 2"),
        (
            {"padding": "VALID", "dilations": [3, 3]},
            r"as large as the dilated kernel. Received: image 4",
        ),
    ],
)
def test_op_checks_its_inputs(change, message):
    arguments = {
        "projection": tf.zeros([1, 4, 4, 18]),
        "offset": tf.zeros([1, 4, 4, 18]),
        "mask": [],
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "dilations": [1, 1],
        "padding": "SAME",
        "offset_groups": 1,
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        library.load().ops.keras_radn_deformable_sum(**{**arguments, **change})


@pytest.mark.parametrize(
    ("first_row", "rows", "channels", "message"),
    [
        (5, 4, 4, "must lie among the 8 of the output. Received: 4 from"),
        (-1, 4, 4, "must lie among the 8"),
        (0, 4, 3, "offset_groups must divide the channels"),
    ],
)
def test_columns_check_their_rows(first_row, rows, channels, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        library.load().ops.keras_radn_deformable_columns(
            tf.zeros([2, 4, 4, channels]),
            tf.zeros([rows, 4, 36]),
            [],
            tf.constant(first_row, "int64"),
            kernel_size=[3, 3],
            strides=[1, 1],
            dilations=[1, 1],
            padding="SAME",
            offset_groups=2,
        )
