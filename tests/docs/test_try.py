"""The page that deblurs in the browser, and how it cuts tiles."""

import importlib.util
import io
import json
import re
import struct
import zlib

import numpy as np
import pytest
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import Deblurrer
from keras_radn.inference import tiling
from tests.docs.conftest import ROOT, serving

pytestmark = pytest.mark.slow

HOOK = "docs/try/build.py"


@pytest.fixture(
    params=[
        pytest.param(False, marks=pytest.mark.nightly, id="alone"),
        pytest.param(True, id="isolated"),
    ]
)
def isolated(request):
    """Whether the host lets the page share memory between threads."""
    return request.param


@pytest.fixture
def page(browser, site, isolated):
    """An open page, which must neither fail nor contact other hosts."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(300_000)  # two busy cores may need it
    page = context.new_page()
    requests, failures = [], []
    context.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    with serving(site, isolated) as (address, asked):
        page.goto(f"{address}/try/")
        page.get_by_text("megapixels").wait_for()
        assert page.evaluate("crossOriginIsolated") == isolated
        yield page
        context.close()
    own = (f"{address}/try/", "data:", "blob:")
    assert [url for url in requests if not url.startswith(own)] == []
    # The browser tells of all requests, the worker's too, but of no icon.
    urls = {address + line.split()[1] for line in asked}
    assert urls - {f"{address}/try/icon.svg"} <= set(requests)
    assert all(line.startswith("GET /try/") for line in asked)
    assert all("?" not in line for line in asked)
    assert failures == []


# One kind of host is enough where no network runs.
on_any_host = pytest.mark.parametrize("isolated", [False], indirect=True)


def wait_until_done(page):
    page.wait_for_selector("body[data-view=done]")


def downloaded(page):
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    pixels = np.asarray(Image.open(download.value.path()))
    return download.value.suggested_filename, pixels


def large_photo(photo):
    """A blurred picture of 4 tiles, not a multiple of any stride."""
    sharp = np.tile(photo, (2, 2, 1)).astype("float32")
    blurred = np.mean([np.roll(sharp, i, axis=1) for i in range(9)], axis=0)
    return np.ascontiguousarray(blurred[:601, 3:730].round().astype("uint8"))


def test_as_the_library_in_tiles_and_without_a_connection(
    page, photo, tmp_path
):
    picture = large_photo(photo)
    path = tmp_path / "my photo.png"
    Image.fromarray(picture).save(path)
    page.set_input_files("#file", path)
    wait_until_done(page)
    name, result = downloaded(page)
    assert name == "my photo.deblurred.png"
    expected = Deblurrer(dtype="float32", tile=512)(picture)
    pixels = result[..., :3]
    assert peak_signal_noise_ratio(expected, pixels) > 60
    assert peak_signal_noise_ratio(expected, picture) < 30
    assert page.get_by_text("727x601 pixels, deblurred in").is_visible()

    # What was loaded is enough for the next one: gray, and partly transparent.
    page.context.set_offline(True)
    gray = np.repeat(picture[:200, :300, 1:2], 3, axis=2)
    alpha = np.full((200, 300, 1), 255, "uint8")
    alpha[50:100] = 0
    path = tmp_path / "gray.png"
    Image.fromarray(np.concatenate([gray, alpha], axis=2)).save(path)
    page.set_input_files("#file", path)
    page.get_by_text("300x200 pixels").wait_for()
    result = downloaded(page)[1]
    np.testing.assert_array_equal(result[..., 3:], alpha)
    assert np.ptp(result[..., :3], axis=2).max() == 0


@on_any_host
def test_tiles_are_the_library_s(page):
    rng = np.random.default_rng(7)
    sizes = [1, 31, 512, 513, 5000, *map(int, rng.integers(1, 9000, 60))]
    cases = [
        (size, tile, overlap)
        for size in sizes
        for tile, overlap in ((512, 96), (288, 96), (64, 0))
    ]
    answers = page.evaluate(
        """async (cases) => {
          const { planAxis, weightsOf } = await import("./tiling.js");
          return cases.map((c) => {
            const axis = planAxis(...c);
            const weights = axis.starts.map((_, i) => [...weightsOf(axis, i)]);
            return { ...axis, weights: weights.slice(0, 3) };
          });
        }""",
        cases,
    )
    for case, answer in zip(cases, answers, strict=True):
        axis = tiling.plan_axis(*case)
        assert answer["tile"] == axis.tile
        assert tuple(answer["starts"]) == axis.starts
        for i, weights in enumerate(answer["weights"]):
            np.testing.assert_allclose(weights, axis.weights(i), atol=1e-6)


@on_any_host
def test_cancel_and_another_photograph(page, photo, tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.tile(photo, (4, 4, 1))).save(path)
    page.set_input_files("#file", path)
    page.get_by_text("Deblurring…").wait_for()
    assert page.get_by_role("progressbar", name="Progress").is_visible()
    (worker,) = page.workers
    with worker.expect_event("close"):  # long before the last of its 25 tiles
        page.get_by_role("button", name="Cancel").press("Enter")
    assert page.get_by_text("Drop a blurred photograph").is_visible()
    page.get_by_role("button", name="Try the example").press("Enter")
    page.get_by_text("512x512 pixels").wait_for()
    assert downloaded(page)[1].shape == (512, 512, 4)
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    line, frame = (
        page.locator(name).bounding_box() for name in ("#line", "#frame")
    )
    assert line["x"] + 1 == pytest.approx(frame["x"], abs=1)
    page.get_by_role("button", name="Another photograph").press("Enter")
    assert page.get_by_text("Drop a blurred photograph").is_visible()


@on_any_host
def test_dropped_and_pasted(page):
    for event in ("drop", "paste"):
        page.evaluate(
            """async (event) => {
              const blob = await (await fetch("icon.svg")).blob();
              const data = new DataTransfer();
              data.items.add(new File([blob], `${event}.txt`));
              const options = { bubbles: true, cancelable: true };
              document.body.dispatchEvent(event === "drop"
                ? new DragEvent("drop", { ...options, dataTransfer: data })
                : new ClipboardEvent("paste",
                    { ...options, clipboardData: data }));
            }""",
            event,
        )
        page.get_by_role("alert").get_by_text(f"{event}.txt: ").wait_for()


def encoded(picture, kind):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def black_png(width, height):
    """Returns the bytes of a large picture that never lies in memory."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    packer = zlib.compressobj()
    rows = [packer.compress(bytes(width + 1)) for _ in range(height)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(
                b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
            ),
            chunk(b"IDAT", b"".join([*rows, packer.flush()])),
            chunk(b"IEND", b""),
        ]
    )


@on_any_host
def test_bad_files_are_a_sentence(page, photo, tmp_path):
    unread = "this is not an image that this browser can read."
    damaged = "this is damaged, or too large for this browser."
    for name, content, sentence in (
        ("notes.txt", b"Not a photograph.", unread),
        ("nothing.jpg", b"", "this file is empty."),
        ("half.jpg", encoded(photo, "JPEG")[:9000], damaged),
        ("half.png", encoded(photo, "PNG")[:-20], damaged),
        (
            "huge.png",
            black_png(10_000, 6_000),
            "10000x6000 are 60 megapixels; up to 50 can be deblurred on this "
            "page. `keras-radn deblur` has no such limit.",
        ),
        ("bomb.png", black_png(60_000, 2)[:30] + bytes(99), unread),
    ):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        page.get_by_role("alert").get_by_text(f"{name}: {sentence}").wait_for()
        assert page.get_by_text("Drop a blurred photograph").is_visible()


@on_any_host
def test_after_an_error_the_page_goes_on_at_any_width(page):
    page.route(re.compile("onnx$"), lambda route: route.abort())
    page.get_by_role("button", name="Try the example").click()
    sentence = "The network could not be loaded; please try again."
    page.get_by_role("alert").get_by_text(sentence).wait_for()
    page.unroute_all()
    page.get_by_role("button", name="Try the example").click()
    wait_until_done(page)
    assert page.get_by_role("alert").is_hidden()
    for width in (1000, 360):
        page.set_viewport_size({"width": width, "height": 740})
        # Nothing sticks out of the window.
        scrolled = page.evaluate("document.documentElement.scrollWidth")
        assert scrolled == width


def test_what_is_shipped_is_named_and_pinned(site):
    text = (site / "try" / "index.html").read_text()
    for name in re.findall(r'(?:href|src)="([^"#:]+[^/])"', text):
        assert (site / "try" / name).is_file(), name
    assert "Microsoft" in (site / "try/onnxruntime-web.LICENSE.txt").read_text()
    packages = json.loads((ROOT / "docs/try/package-lock.json").read_text())
    del packages["packages"][""]  # the page itself
    for package in packages["packages"].values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package  # the address of a registry
    assert not list((site / "try").glob("*.json"))
    assert not (site / "try" / "node_modules").exists()
    assert not (site / "try" / "build.py").exists()


def test_without_npm_it_is_a_sentence(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("build", ROOT / HOOK)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    (tmp_path / "package-lock.json").touch()
    monkeypatch.setattr(build, "_FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PluginError, match=r"needs npm, .* apt-get install"):
        build.on_files(Files([]), None)
