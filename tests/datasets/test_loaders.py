import itertools
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from keras_radn import datasets
from keras_radn.metrics import PSNR


def arrays(dataset):
    return [tuple(part.numpy() for part in batch) for batch in dataset]


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def gopro_folder(tmp_path, photo):
    """Sequences whose `blur` has half the light and `blur_gamma` a third."""
    root = tmp_path / "GOPRO_Large"
    for split, names in (
        ("train", ["GOPR0372_07_00", "GOPR0374_11_00"]),
        ("test", ["GOPR0384_11_00"]),
    ):
        for s, name in enumerate(names):
            for i in range(3):
                crop = photo[64 * i : 64 * i + 48, 90 * s : 90 * s + 70]
                for kind, scale in (
                    ("sharp", 1),
                    ("blur", 2),
                    ("blur_gamma", 3),
                ):
                    path = root / split / name / kind / f"{i:06}.png"
                    write(path, crop // scale)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(("blur", "scale"), [("blur", 2), ("blur_gamma", 3)])
def test_gopro_train(gopro_folder, blur, scale):
    with pytest.warns(UserWarning, match="6 pairs, the GoPro set 2103"):
        dataset = datasets.gopro(
            gopro_folder, blur=blur, patch_size=32, batch_size=2
        )
    assert len(dataset) == 3
    first, second = arrays(dataset), arrays(dataset)
    for blurred, sharp in first:
        assert blurred.shape == sharp.shape == (2, 32, 32, 3)
        assert blurred.dtype == sharp.dtype == np.float32
        np.testing.assert_array_equal(
            np.rint(255 * blurred), np.rint(255 * sharp) // scale
        )
    # Each epoch draws anew; the same seed draws the same.
    assert not np.array_equal(first[0][0], second[0][0])
    with pytest.warns(UserWarning, match="6 pairs"):
        again = datasets.gopro(
            gopro_folder, blur=blur, patch_size=32, batch_size=2
        )
    for a, b in zip(arrays(again), first, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_epoch_has_each_pair_once(tmp_path, rng):
    """The value of each constant image identifies its pair."""
    for i in range(7):
        for kind in ("blur", "sharp"):
            write(
                tmp_path / kind / f"{i}.png", np.full((9, 8, 3), 10 * i, "u1")
            )
    dataset = datasets.image_pairs(tmp_path, patch_size=8, batch_size=1, seed=3)
    orders = []
    for _ in range(2):
        orders.append(
            [int(np.rint(25.5 * x[0, 0, 0, 0])) for x, _ in arrays(dataset)]
        )
        assert sorted(orders[-1]) == list(range(7))
    assert orders[0] != orders[1]


def test_gopro_test_has_whole_images_in_order(gopro_folder):
    with pytest.warns(UserWarning, match="3 pairs, the GoPro set 1111"):
        dataset = datasets.gopro(gopro_folder, "test")
    images = arrays(dataset)
    assert len(dataset) == len(images) == 3
    folder = gopro_folder / "test" / "GOPR0384_11_00" / "sharp"
    for i, (_, sharp) in enumerate(images):
        expected = np.asarray(Image.open(folder / f"{i:06}.png"))
        np.testing.assert_array_equal(np.rint(255 * sharp[0]), expected)


def test_gopro_is_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"https://.*unpack it"):
        datasets.gopro(tmp_path)


@pytest.mark.parametrize(
    "arguments", [{"split": "val"}, {"blur": "sharp"}, {"blur": "input"}]
)
def test_gopro_bad_arguments(gopro_folder, arguments):
    with pytest.raises(ValueError, match="Received"):
        datasets.gopro(gopro_folder, **arguments)


@pytest.mark.parametrize(
    ("blurred", "sharp"),
    [
        ("blur/a.png", "sharp/a.png"),
        ("scene/blur/1.png", "scene/sharp/1.png"),
        ("train/train_blur/000/01.png", "train/train_sharp/000/01.png"),  # REDS
        ("scene001/blur/blur_1.png", "scene001/gt/gt_1.png"),  # RealBlur
        ("HIDE/test/test-close-ups/1.png", "HIDE/GT/1.png"),
        ("HIDE/train/1.png", "HIDE/GT/1.png"),
        ("HIDE/test/close/1.png", "HIDE/GT/close/1.png"),
        ("blur/test/1.png", "sharp/test/1.png"),
        ("test/GoPro/input/1.png", "test/GoPro/target/1.png"),
        ("train/input/x.jpg", "train/target/x.jpg"),
    ],
)
def test_layouts(tmp_path, photo, blurred, sharp):
    for name in (blurred, sharp):
        write(tmp_path / name, photo[:20, :20])
    assert datasets.find_pairs(tmp_path) == [
        (tmp_path / blurred, tmp_path / sharp)
    ]


def test_the_other_blur_of_gopro_is_no_image_of_hide(tmp_path, photo):
    for folder in ("GT", "test/a/blur", "test/a/blur_gamma", "test/a/sharp"):
        write(tmp_path / folder / "1.png", photo[:20, :20])
    [(blurred, sharp)] = datasets.find_pairs(tmp_path)
    assert blurred == tmp_path / "test/a/blur/1.png"
    assert sharp == tmp_path / "test/a/sharp/1.png"


@pytest.fixture
def realblur_folder(tmp_path, photo):
    """Two scenes of each kind; the lists assign one to each half."""
    root = tmp_path / "RealBlur"
    for kind in ("J", "R"):
        for scene, half in (("scene001", "train"), ("scene230", "test")):
            names = [
                f"RealBlur-{kind}_ref/{scene}/{folder}/{folder}_1.png"
                for folder in ("gt", "blur")
            ]
            for name in names:
                write(root / name, photo[:20, :20])
            (root / f"RealBlur_{kind}_{half}_list.txt").write_text(
                f"{' '.join(names)} \n"
            )
    return root


@pytest.mark.parametrize(
    "line",
    [
        "s/a b.png s/c d.png",
        "s/a b.png   s/c d.png  ",
        "s/a b.png\ts/c d.png",
        '"s/a b.png" "s/c d.png"',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_with_spaces_and_mark(line, encoding, tmp_path):
    """Editors on Windows write such lists."""
    (tmp_path / "s").mkdir()
    for name in ("a b.png", "c d.png", "\xe9.png"):
        (tmp_path / "s" / name).touch()
    text = f"{line}\r\ns/\xe9.png s/c d.png\r\n"
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    sharp, blurred = tmp_path / "s" / "a b.png", tmp_path / "s" / "c d.png"
    assert datasets.find_pairs(tmp_path / "list.txt") == [
        (blurred, sharp),
        (blurred, tmp_path / "s" / "\xe9.png"),
    ]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("a b a b a", ValueError, "several pairs .* Received: 'a b a b a'"),
        ("a c d", FileNotFoundError, "no pair of files"),
        ('"a b" ', ValueError, "must have the paths of a sharp"),
    ],
)
def test_lines_that_may_mean_anything(line, error, message, tmp_path):
    for name in ("a", "a b", "a b a", "b a b a", "b a"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(error, match=message):
        datasets.find_pairs(tmp_path / "list.txt")


def test_lists_of_realblur(realblur_folder):
    path = realblur_folder / "RealBlur_J_test_list.txt"
    pairs = datasets.ImagePairs(path)
    scene = realblur_folder / "RealBlur-J_ref" / "scene230"
    assert pairs.blurred == [scene / "blur" / "blur_1.png"]
    assert pairs.sharp == [scene / "gt" / "gt_1.png"]
    assert pairs.name(0) == "blur_1.png"
    with pytest.warns(UserWarning, match="both halves.*RealBlur_R_train_list"):
        assert len(datasets.find_pairs(realblur_folder)) == 4


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"a.png\n", ValueError, "Line 1 .*sharp.*blurred.*'a.png'"),
        (b"\nno.png b.png\n", FileNotFoundError, r"Line 2 .*no\.png"),
        (b"\n", FileNotFoundError, "is empty"),
        (b"\xff\xd8\xff", ValueError, "must be a text file"),
    ],
)
def test_bad_lists(content, error, words, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        datasets.find_pairs(path)


def test_halves_of_hide(tmp_path, photo):
    for name in ("GT/1.png", "GT/2.png", "train/1.png", "test/close/2.png"):
        write(tmp_path / name, photo[:20, :20])
    pair = (tmp_path / "test/close/2.png", tmp_path / "GT/2.png")
    assert datasets.find_pairs(tmp_path / "test") == [pair]
    assert datasets.find_pairs(tmp_path, "test") == [pair]


def test_missing_partner_of_a_layout(gopro_folder):
    shutil.rmtree(gopro_folder / "test" / "GOPR0384_11_00" / "sharp")
    with pytest.raises(FileNotFoundError, match=r"000000\.png is missing"):
        datasets.gopro(gopro_folder, "test")


def test_no_pairs(tmp_path, photo):
    write(tmp_path / "sharp" / "a.png", photo[:20, :20])
    with pytest.raises(FileNotFoundError, match="no folder of blurred images"):
        datasets.find_pairs(tmp_path)
    with pytest.raises(ValueError, match="'fog'"):
        datasets.find_pairs(tmp_path, "fog")


def test_synthetic_blur(stills_folder):
    dataset = datasets.synthetic_blur(
        stills_folder, patch_size=32, batch_size=2
    )
    assert len(dataset) == 1
    [(blurred, sharp)] = arrays(dataset)
    assert blurred.shape == sharp.shape == (2, 32, 32, 3)
    again = datasets.synthetic_blur(stills_folder, patch_size=32, batch_size=2)
    np.testing.assert_array_equal(arrays(again)[0], (blurred, sharp))


def test_fewer_images_than_a_batch(pairs_folder):
    with pytest.raises(ValueError, match=r"2 images, batch_size=16.*at most 2"):
        datasets.image_pairs(pairs_folder)


def test_order_does_not_depend_on_waiting(pairs_folder):
    """By default, no image overtakes another."""
    dataset = datasets.image_pairs(pairs_folder, patch_size=32, batch_size=2)
    assert dataset.options().deterministic is not False
    streams = [
        arrays(itertools.islice(dataset, 1))
        for dataset in (
            datasets.image_pairs(pairs_folder, patch_size=32, batch_size=2)
            for _ in range(3)
        )
    ]
    for stream in streams[1:]:
        np.testing.assert_array_equal(stream[0], streams[0][0])


def test_fit(gopro_folder):
    model = keras.Sequential([keras.layers.Conv2D(3, 3, padding="same")])
    model.compile(loss="mse", metrics=[PSNR()])
    with pytest.warns(UserWarning, match="pairs"):
        train, test = (
            datasets.gopro(gopro_folder, "train", patch_size=32, batch_size=2),
            datasets.gopro(gopro_folder, "test"),
        )
    history = model.fit(
        train, validation_data=test, epochs=1, verbose=0, shuffle=False
    )
    assert np.isfinite(history.history["val_psnr"][0])
