"""Time of the page that deblurs in the browser, beside the library.

    make docs
    python benchmarks/try_page.py [--size 1600x1250]

Both get the same picture, the library as float32 in the same tiles. `isolated`
says whether the host sends the headers by which a page may share memory between
threads; without them the page has one thread. Needs Chromium.
"""

import argparse
import contextlib
import functools
import http.server
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import Deblurrer

SITE = Path(__file__).parents[1] / "site"
# Those of docs/try/worker.js.
TILE, OVERLAP = 512, 96


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="1600x1250")
    parser.add_argument("--site", type=Path, default=SITE)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    picture = blurred(height, width)
    deblurrer = Deblurrer(dtype="float32", tile=TILE, overlap=OVERLAP)
    deblurrer(picture[:TILE, :TILE])
    start = time.perf_counter()
    expected = deblurrer(picture)
    library = time.perf_counter() - start
    print("| | s | time / library | dB to the library |")
    print("|---|---:|---:|---:|")
    print(f"| library, float32 | {library:.1f} | 1 | |", flush=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder, "photo.png")
        Image.fromarray(picture).save(path)
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        for isolated in (True, False):
            seconds, result = by_page(browser, options.site, path, isolated)
            print(
                f"| page, {'' if isolated else 'not '}isolated | "
                f"{seconds:.1f} | {seconds / library:.1f} | "
                f"{peak_signal_noise_ratio(expected, result):.1f} |",
                flush=True,
            )
        browser.close()


def blurred(height: int, width: int) -> np.ndarray:
    """A photograph, repeated and blurred along its rows."""
    photo = data.astronaut().astype("float32")
    repeats = -(-height // 512), -(-width // 512), 1
    sharp = np.tile(photo, repeats)[:height, :width]
    shifted = [np.roll(sharp, i, axis=1) for i in range(9)]
    return np.mean(shifted, axis=0).round().astype("uint8")


def by_page(browser, site, path, isolated) -> tuple[float, np.ndarray]:
    """Seconds from choosing the file to the result, and the result."""
    page = browser.new_page()
    page.set_default_timeout(600_000)
    with served(site, isolated) as address:
        page.goto(f"{address}/try/")
        page.get_by_text("megapixels").wait_for()
        start = time.perf_counter()
        page.set_input_files("#file", path)
        page.wait_for_selector("body[data-view=done]")
        seconds = time.perf_counter() - start
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        result = np.asarray(Image.open(download.value.path()).convert("RGB"))
        page.close()
    return seconds, result


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, quietly."""

    def log_message(self, *_):
        pass


class IsolatedHandler(Handler):
    """Lets the page share memory between threads."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextlib.contextmanager
def served(site, isolated):
    """The address of a file server."""
    kind = IsolatedHandler if isolated else Handler
    handler = functools.partial(kind, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


if __name__ == "__main__":
    main()
