"""The page in a browser."""

import io
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_radn
from keras_radn.models import inference_model
from tests.demo.conftest import running_demo

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser, demo_server):
    """An open page, which must neither fail nor contact other hosts."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    requests, failures = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(demo_server)
    page.get_by_text("megapixels").wait_for()
    yield page
    context.close()
    own = (f"{demo_server}/", "data:", "blob:")
    assert requests
    assert [url for url in requests if not url.startswith(own)] == []
    assert failures == []


@pytest.fixture(scope="module")
def photo_file(photo, tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "my photo.png"
    Image.fromarray(photo[40:200, 160:400]).save(path)
    return path


def wait_until_done(page):
    page.wait_for_selector("body[data-view=done]")


def downloaded(page):
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    path = download.value.path()
    return download.value.suggested_filename, np.asarray(Image.open(path))


def colors(page):
    """Returns the visible frame, a float array `(height, width, 3)`."""
    x, y, width, height = (
        round(n) for n in page.locator("#frame").bounding_box().values()
    )
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return np.asarray(shot, float)[y : y + height, x : x + width]


def test_deblur_compare_and_download(page, photo_file, model_file):
    page.set_input_files("#file", photo_file)
    wait_until_done(page)
    model = keras.models.load_model(model_file, compile=False)
    network = inference_model(model, "auto")
    expected = np.asarray(keras_radn.deblur(photo_file, network))
    name, result = downloaded(page)
    assert name == "my photo.deblurred.png"
    np.testing.assert_array_equal(result, expected)

    # The slider, by the mouse: what is left of it is the photograph.
    frame = page.locator("#frame").bounding_box()
    assert (frame["width"], frame["height"]) == (240, 160)
    page.mouse.move(frame["x"] + 120, frame["y"] + 140)
    page.mouse.down()
    page.mouse.move(frame["x"] + 200, frame["y"] + 140, steps=4)
    page.mouse.up()
    line = page.locator("#line").bounding_box()
    assert line["x"] + 1 == pytest.approx(frame["x"] + 200, abs=1.5)
    before = np.asarray(Image.open(photo_file), float)
    # Without the tags, the line and its handle.
    seen = colors(page)[110:158]
    left, right = np.s_[:, 5:170], np.s_[:, 225:]
    np.testing.assert_allclose(seen[left], before[110:158][left], atol=2)
    np.testing.assert_allclose(seen[right], expected[110:158][right], atol=2)
    assert np.abs(before - expected)[110:158][right].mean() > 2

    # And by the keyboard, to its ends.
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    line = page.locator("#line").bounding_box()
    assert line["x"] + 1 == pytest.approx(frame["x"], abs=1)


def test_maps_and_their_legends(page, photo_file):
    page.set_input_files("#file", photo_file)
    wait_until_done(page)
    deblurred = colors(page)
    for name, unit in (("offsets", "px"), ("attention", "")):
        page.wait_for_selector(f"[value={name}]:enabled", state="attached")
        page.get_by_text(name.capitalize(), exact=True).first.click()
        page.wait_for_selector(f"body[data-map={name}]")
        assert page.locator("#unit").inner_text() == unit
        low, high = (
            float(page.locator(f"#{end}").inner_text())
            for end in ("low", "high")
        )
        assert low < high
        assert np.abs(colors(page) - deblurred)[110:, 150:].mean() > 5
    page.get_by_text("Deblurred", exact=True).first.click()
    page.wait_for_selector("body:not([data-map])")
    assert page.locator("#legend").is_hidden()
    np.testing.assert_allclose(colors(page), deblurred, atol=2)


def test_actual_size_shows_the_middle(page, photo, tmp_path):
    page.set_viewport_size({"width": 360, "height": 640})
    Image.fromarray(photo).save(tmp_path / "a.png")
    page.set_input_files("#file", tmp_path / "a.png")
    wait_until_done(page)
    assert page.locator("#frame").bounding_box()["width"] < 360
    page.get_by_text("Actual size").click()
    frame = page.locator("#frame").bounding_box()
    assert (frame["width"], frame["height"]) == (512, 512)
    line = page.locator("#line").bounding_box()
    assert line["x"] + 1 == pytest.approx(180, abs=2)


@pytest.mark.parametrize(
    ("switches", "options"),
    [
        (["Self-ensemble"], {"ensemble": True}),
        (["Multi-scale"], {"multi_scale": True}),
        (
            ["Self-ensemble", "Multi-scale"],
            {"ensemble": True, "multi_scale": True},
        ),
    ],
)
def test_ensembles_do_the_picture_again(
    switches, options, page, photo_file, model_file
):
    page.set_input_files("#file", photo_file)
    wait_until_done(page)
    for switch in switches:
        page.get_by_text(switch).click()
        page.wait_for_selector("body[data-view=working]")
        wait_until_done(page)
    model = keras.models.load_model(model_file, compile=False)
    deblurrer = keras_radn.Deblurrer(model, **options)
    expected = keras_radn.deblur(photo_file, deblurrer)
    np.testing.assert_array_equal(downloaded(page)[1], np.asarray(expected))


def test_the_example_and_another_photograph(page, photo_file):
    page.get_by_role("button", name="Try the example").click()
    wait_until_done(page)
    assert downloaded(page)[1].shape == (512, 512, 3)
    page.get_by_role("button", name="Another photograph").click()
    assert page.get_by_text("Drop a blurred photograph").is_visible()
    # Dropped on the page this time.
    page.evaluate(
        """async () => {
          const blob = await (await fetch("example.jpg")).blob();
          const data = new DataTransfer();
          data.items.add(new File([blob], "dropped.jpg"));
          document.body.dispatchEvent(new DragEvent("drop",
            { bubbles: true, cancelable: true, dataTransfer: data }));
        }"""
    )
    wait_until_done(page)
    assert downloaded(page)[0] == "dropped.deblurred.png"


def test_friendly_messages(page, tmp_path, photo):
    for name, content, words in (
        ("notes.txt", b"Not a photograph.", r"notes\.txt.*not an image"),
        ("large.bin", bytes(1_000_001), r"large\.bin.*1 MB"),
    ):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        page.get_by_role("alert").get_by_text(re.compile(words)).wait_for()
        assert page.get_by_text("Drop a blurred photograph").is_visible()
    Image.fromarray(np.tile(photo, (1, 2, 1))).save(tmp_path / "wide.jpg")
    page.set_input_files("#file", tmp_path / "wide.jpg")
    sentence = re.compile(r"wide\.jpg: 1024x512 .* up to 0\.3")
    page.get_by_role("alert").get_by_text(sentence).wait_for()


@pytest.mark.parametrize("width", [1000, 360])
def test_nothing_sticks_out_of_the_window(page, photo_file, width):
    page.set_viewport_size({"width": width, "height": 740})
    page.set_input_files("#file", photo_file)
    wait_until_done(page)
    page.wait_for_selector("[value=offsets]:enabled", state="attached")
    page.get_by_text("Offsets", exact=True).first.click()
    page.wait_for_selector("body[data-map=offsets]")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_it_ends_with_status_0_and_a_taken_port_is_a_sentence(
    model_file, tmp_path
):
    with running_demo(model_file, tmp_path) as (process, url):
        port = url.rsplit(":", 1)[1]
        second = subprocess.run(
            [
                *(sys.executable, "-m", "keras_radn", "demo"),
                *("--port", port, "--model", model_file),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert f"127.0.0.1:{port}: cannot be listened on" in second.stderr
        assert "Traceback" not in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
