"""Compares `keras-radn serve` with direct calls of the same graph.

    python benchmarks/serving.py [--size 256] [--seconds 60]

Clients send one PNG file after the other and wait as long as Retry-After says
when they are turned away. The ratio compares the server's CPU time per answered
picture with that of a direct call in this process; other programs on the
machine change it less than the time on the clock.
"""

import argparse
import base64
import concurrent.futures
import io
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import requests
import tensorflow as tf
from PIL import Image
from skimage import data

from keras_radn import RADN, export


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=60, help="per row")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 100])
    options = parser.parse_args()
    picture = _picture(options.size)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "radn")
        export.saved_model(RADN(pretrained=True), base)
        before = _direct(base, picture)
        rows = list(_serve(base, picture, options))
        direct = statistics.mean([before, _direct(base, picture)])
    print(f"A direct call takes {direct:.3f} s of CPU time.\n")
    print(
        "| clients | s | answered | shed | failed | pictures/s | CPU time / "
        "direct | p50 s | p99 s | MB half-way | MB at the end |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for clients, times, shed, failed, seconds, cpu, half, end in rows:
        p50, p99 = np.quantile(times, [0.5, 0.99])
        print(
            f"| {clients} | {seconds:.0f} | {len(times)} | {shed} | {failed} | "
            f"{len(times) / seconds:.2f} | {cpu / len(times) / direct:.2f} | "
            f"{p50:.2f} | {p99:.2f} | {half:.0f} | {end:.0f} |"
        )


def _picture(size):
    image = Image.fromarray(data.astronaut()).resize((size, size))
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _direct(base, picture):
    """Returns the median CPU time of a call in seconds."""
    loaded = tf.saved_model.load(str(base / "1"))
    call = loaded.signatures["image_bytes"]
    times = []
    for _ in range(9):
        started = time.process_time()
        call(image_bytes=tf.constant([picture]))
        times.append(time.process_time() - started)
    return statistics.median(times[2:])


def _serve(base, picture, options):
    command = [sys.executable, "-m", "keras_radn", "serve"]
    command += ["--model-base-path", base]
    with subprocess.Popen(
        [*command, *("--rest-port", "0", "--grpc-port", "0")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        url = process.stdout.readline().split()[1]
        try:
            for clients in options.clients:
                yield _load(url, picture, clients, options.seconds)
        finally:
            process.terminate()


def _load(url, picture, clients, seconds):
    body = {
        "signature_name": "image_bytes",
        "instances": [{"b64": base64.b64encode(picture).decode()}],
    }
    cpu = -_metric(url, "process_cpu_seconds_total")
    started = time.monotonic()
    ended = threading.Event()
    answered, shed, failed = [], [], []

    def client(_):
        with requests.Session() as session:
            while not ended.is_set():
                begun = time.monotonic()
                try:
                    answer = session.post(
                        f"{url}/v1/models/radn:predict", json=body
                    )
                except requests.RequestException as error:
                    failed.append(error)
                    continue
                now = time.monotonic()
                if answer.status_code == 200:
                    answered.append(now - begun)
                elif answer.status_code == 503:
                    shed.append(now - begun)
                    ended.wait(int(answer.headers["Retry-After"]))
                else:
                    failed.append(answer.text)

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        done = pool.map(client, range(clients))
        time.sleep(seconds / 2)
        half = _megabytes(url)
        time.sleep(seconds / 2)
        ended.set()
        list(done)
    elapsed = time.monotonic() - started
    cpu += _metric(url, "process_cpu_seconds_total")
    numbers = len(shed), len(failed), elapsed, cpu, half, _megabytes(url)
    return clients, answered, *numbers


def _megabytes(url):
    return _metric(url, "process_resident_memory_bytes") / 1e6


def _metric(url, name):
    page = requests.get(f"{url}/monitoring/prometheus/metrics").text
    (line,) = (x for x in page.splitlines() if x.startswith(f"{name} "))
    return float(line.split()[1])


if __name__ == "__main__":
    main()
