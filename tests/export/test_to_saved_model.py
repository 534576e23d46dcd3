import contextlib
import io
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow_serving.apis import prediction_log_pb2

import keras_radn
from keras_radn import export, hooks
from keras_radn.export import to_saved_model
from keras_radn.export.encoded_images import decode
from keras_radn.ops import tracing
from tests.export.conftest import build, expected, pictures, plain_model

pytestmark = pytest.mark.slow

SHAPES = [(1, 1, 1), (3, 1, 17), (2, 33, 50), (1, 64, 48)]


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "radn"
    return export.saved_model(network, path, max_pixels=20_000)


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported.path))


@pytest.fixture(scope="module")
def deblur_bytes(loaded):
    """Returns a function from encoded pictures to PIL's."""

    def run(*contents):
        answer = loaded.signatures["image_bytes"](
            image_bytes=tf.constant(contents, tf.string, [len(contents)])
        )
        return [
            Image.open(io.BytesIO(content), formats=["PNG"])
            for content in answer["deblurred_bytes"].numpy()
        ]

    return run


def encoded(array, format_="PNG", **options):
    if not isinstance(array, Image.Image):
        array = Image.fromarray(array)
    buffer = io.BytesIO()
    array.save(buffer, format_, **options)
    return buffer.getvalue()


def in_eight_bits(network, array):
    """Returns the network's answer to a uint8 picture in RGB or gray."""
    color = np.dstack([array] * 3) if array.ndim == 2 else array
    answer = expected(network, color[np.newaxis].astype("float32") / 255)[0]
    return np.rint(255 * (answer if array.ndim == 3 else answer.mean(axis=2)))


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_model(shape, network, loaded, blurred):
    images = pictures(blurred, *shape)
    answer = loaded.signatures["serving_default"](images=tf.constant(images))
    assert answer.keys() == {"deblurred"}
    assert answer["deblurred"].dtype == tf.float32
    reference = expected(network, images)
    assert shape == (1, 1, 1) or np.abs(reference - images).max() > 0.01
    np.testing.assert_allclose(answer["deblurred"], reference, atol=1e-4)


def test_says_the_difference(exported, network):
    assert exported.path.name == "1"
    assert 0 < exported.max_difference < 1e-4
    assert exported.psnr > 80
    assert str(exported.path) in str(exported)


def test_loads_without_keras(exported, network, blurred, tmp_path):
    images = {str(s): pictures(blurred, *s) for s in SHAPES}
    inputs, outputs = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(inputs, **images)
    script = Path(__file__).with_name("loaded_elsewhere.py")
    done = subprocess.run(
        [sys.executable, script, exported.path, inputs, outputs],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    with np.load(outputs) as answers:
        assert len(answers) == 2 * len(SHAPES)
        for name, array in images.items():
            for loader in ("v1", "v2"):
                np.testing.assert_allclose(
                    answers[f"{name}_{loader}"],
                    expected(network, array),
                    atol=1e-4,
                )


def test_encoded_pictures_of_any_size_and_kind(network, deblur_bytes, blurred):
    color, gray = blurred[:40, :61], blurred[:33, :34, 1]
    alpha = np.arange(40 * 61).reshape(40, 61, 1).astype("uint8")
    jpeg = encoded(color, "JPEG")
    decoded = np.asarray(tf.io.decode_jpeg(jpeg, dct_method="INTEGER_ACCURATE"))
    palette = Image.fromarray(color).quantize(16)
    wide = np.uint16(gray[..., np.newaxis]) * 256 + 77
    gray_result = in_eight_bits(network, gray)
    batch = {
        "rgb": (encoded(color), in_eight_bits(network, color)),
        "jpeg": (jpeg, in_eight_bits(network, decoded)),
        "palette": (
            encoded(palette),
            in_eight_bits(network, np.asarray(palette.convert("RGB"))),
        ),
        "gray": (encoded(gray), gray_result),
        "16 bits": (encoded(wide[..., 0]), gray_result),
        "alpha": (
            encoded(np.dstack([color, alpha])),
            np.dstack([in_eight_bits(network, color), alpha]),
        ),
        "gray and alpha": (
            encoded(np.dstack([gray, gray])),
            np.dstack([gray_result, gray]),
        ),
        "one pixel": (
            encoded(color[:1, :1]),
            in_eight_bits(network, color[:1, :1]),
        ),
    }
    answers = deblur_bytes(*(content for content, _ in batch.values()))
    for answer, (name, (_, result)) in zip(answers, batch.items(), strict=True):
        array = np.asarray(answer).astype("float64")
        assert array.shape == result.shape, name
        # A value at the limit between two integers may go either way.
        assert np.abs(array - result).max() <= 1, name
        assert (array != result).mean() < 0.02, name
    assert deblur_bytes() == []


@pytest.mark.parametrize("order", [b"II*\0", b"MM\0*"])
def test_exif_orientation(order, deblur_bytes, blurred):
    """The decoded pixels equal Pillow's, before any network."""
    for orientation in range(1, 9):
        exif = tiff_header(order, orientation)
        content = encoded(blurred[:24, :40], "JPEG", exif=exif)
        colors, opacity = decode(tf.constant(content), 10_000)
        with Image.open(io.BytesIO(content)) as image:
            turned = np.asarray(ImageOps.exif_transpose(image)).astype(int)
        assert opacity.shape == (*turned.shape[:2], 0)
        # Two decoders of JPEG differ a little.
        assert np.abs(turned - colors.numpy()).max() <= 3
    (answer,) = deblur_bytes(content)
    assert answer.size == (24, 40)


def tiff_header(order, orientation):
    endian = "little" if order[:1] == b"I" else "big"

    def pack(value, length):
        return value.to_bytes(length, endian)

    entry = pack(0x0112, 2) + pack(3, 2) + pack(1, 4)
    entry += pack(orientation, 2) + b"\0\0"
    directory = pack(1, 2) + entry + pack(0, 4)
    return b"Exif\0\0" + order + pack(8, 4) + directory


PHOTO = np.full((30, 40, 3), 90, "uint8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"not a picture", "neither JPEG nor PNG"),
        (encoded(PHOTO, "GIF"), "neither JPEG nor PNG"),
        (encoded(PHOTO)[:20], "neither JPEG nor PNG"),
        (encoded(PHOTO)[:26], "Invalid PNG"),
        (encoded(PHOTO)[:60], "Invalid PNG"),
        (encoded(PHOTO, "JPEG")[:200], "Invalid JPEG"),
        (encoded(PHOTO, "JPEG")[:-200], "JPEG"),
        # Above 20,000 pixels the header alone is enough to refuse it.
        (encoded(np.zeros((101, 200), "uint8")), "200x101 pixels"),
        (encoded(np.zeros((201, 100), "uint8"), "JPEG"), "100x201 pixels"),
        (
            encoded(PHOTO)[:16] + b"\xff" * 8 + encoded(PHOTO)[24:],
            "4294967295x4294967295 pixels",
        ),
    ],
    ids=range(11),
)
def test_bad_pictures_fail_the_request(content, message, deblur_bytes):
    good = encoded(PHOTO)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        deblur_bytes(good, content)
    assert len(deblur_bytes(good)) == 1


def test_hostile_exif(deblur_bytes):
    """Directories that point anywhere are ignored."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(30):
        tail = rng.integers(0, 256, rng.integers(0, 40), "uint8").tobytes()
        exif = b"Exif\0\0" + bytes(rng.choice([b"II*\0", b"MM\0*"])) + tail
        contents.append(encoded(PHOTO, "JPEG", exif=exif))
    assert len(deblur_bytes(*contents)) == 30


def test_images_beyond_the_limit(loaded):
    run = loaded.signatures["serving_default"]
    for height, width in ((201, 100), (0, 5)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"{width}x{height} pixels"
        ):
            run(images=tf.zeros([1, height, width, 3]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="no images"):
        run(images=tf.zeros([0, 16, 16, 3]))


def test_warmup_requests(exported, loaded):
    path = exported.path / "assets.extra" / "tf_serving_warmup_requests"
    signatures = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        name = request.model_spec.signature_name
        signatures.append(name)
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        loaded.signatures[name](
            **{k: tf.constant(v) for k, v in inputs.items()}
        )
    assert signatures == ["serving_default", "image_bytes"]


def test_versions(tmp_path):
    path, model = tmp_path / "radn", plain_model()
    (path / "9" / "variables").mkdir(parents=True)
    (path / "notes").mkdir()
    too_high = str(2**63)
    (path / too_high).mkdir()

    def save(**kwargs):
        return export.saved_model(model, path, warmup=False, **kwargs).path

    assert save() == path / "10"
    assert not (path / "10" / "assets.extra").exists()
    before = {f: f.read_bytes() for f in path.rglob("*") if f.is_file()}
    with pytest.raises(FileExistsError, match="9: exists already"):
        save(version=9)
    assert before == {f: f.read_bytes() for f in before}
    assert save(version=9, force=True) == path / "9"
    assert (path / "9" / "saved_model.pb").is_file()
    for wrong in (0, 2**63):
        with pytest.raises(ValueError, match=rf"positive .* {wrong}$"):
            save(version=wrong)
    assert sorted(p.name for p in path.iterdir()) == sorted(
        ["10", "9", "notes", too_high]
    )


def test_a_wrong_export_leaves_nothing(network, tmp_path, monkeypatch):
    monkeypatch.setattr(to_saved_model, "_TOLERANCE", 0)
    with pytest.raises(ValueError, match=r"radn.*differs .*; at most 0 "):
        export.saved_model(network, tmp_path / "a" / "radn", warmup=False)
    assert list(tmp_path.iterdir()) == []


def test_custom_ops_are_refused(network, tmp_path, monkeypatch):
    unheard = contextlib.nullcontext()
    monkeypatch.setattr(tracing, "options", lambda **_: unheard)
    monkeypatch.setattr(hooks, "exported_by_keras", lambda: False)
    with pytest.raises(ValueError, match="KerasRadn>DeformableSum"):
        export.saved_model(network, tmp_path / "radn", warmup=False)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_tells_what_failed_first(tmp_path, monkeypatch):
    """Its folder, which somebody uses by then, cannot be removed."""

    def fail(partial, *_):
        (partial.parent / "notes").touch()
        raise ValueError("It differs.")

    monkeypatch.setattr(to_saved_model, "_check", fail)
    with pytest.raises(ValueError, match="It differs"):
        export.saved_model(plain_model(), tmp_path / "a" / "radn", warmup=False)
    assert [p.name for p in (tmp_path / "a/radn").iterdir()] == ["notes"]


def test_answers_that_are_not_finite_fail_the_request(tmp_path):
    """They would become black pictures; a black one causes them here."""
    images = keras.Input((None, None, 3))
    mean = keras.ops.mean(images, axis=(1, 2, 3), keepdims=True)
    model = keras.Model(images, images * keras.ops.sqrt(mean - 0.1))
    path = export.saved_model(model, tmp_path / "a", warmup=False).path
    loaded = tf.saved_model.load(str(path))
    black = np.zeros([1, 8, 9, 3], "float32")
    arguments = {
        "serving_default": {"images": black},
        "image_bytes": {"image_bytes": [encoded(np.uint8(black[0]))]},
    }
    for name, values in arguments.items():
        values = {key: tf.constant(value) for key, value in values.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or inf"):
            loaded.signatures[name](**values)


def test_missing_serving_api(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"keras-radn\[serve\]"):
        export.saved_model(network, tmp_path / "radn")
    assert list(tmp_path.iterdir()) == []


def test_other_models(tmp_path):
    classifier = keras.Sequential([keras.Input([8]), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="maps images"):
        export.saved_model(classifier, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_fixed_size_half_precision_and_the_baseline(tmp_path, blurred):
    fixed = build(image_shape=(32, 48, 3), dtype="mixed_bfloat16")
    baseline = keras_radn.ResidualBaseline(
        deformable_layers=3, attention=True, filters=(4, 8, 16), blocks=1
    )
    for model in (fixed, baseline):
        path = export.saved_model(model, tmp_path / model.name).path
        loaded = tf.saved_model.load(str(path))
        images = pictures(blurred, 2, 32, 48)
        answer = loaded.signatures["serving_default"](
            images=tf.constant(images)
        )
        np.testing.assert_allclose(
            answer["deblurred"],
            expected(model, images),
            atol=5e-3 if model is fixed else 1e-4,
        )
        run = loaded.signatures["image_bytes"]
        content = [encoded(blurred[:32, :49])]
        if model is fixed:
            with pytest.raises(
                tf.errors.InvalidArgumentError, match=r"images of .*32, 48"
            ):
                run(image_bytes=tf.constant(content))
        else:
            assert run(image_bytes=tf.constant(content))
