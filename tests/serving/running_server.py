import contextlib
import os
import signal
import subprocess
import sys
import time

import requests


class RunningServer:
    """`keras-radn serve` on free ports, in a process of its own."""

    def __init__(self, folder, *arguments):
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "keras_radn", "serve"),
                    *("--rest-port", "0", "--grpc-port", "0"),
                    *map(str, arguments),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
        lines = [self.process.stdout.readline() for _ in range(2)]
        if not lines[1]:
            self.process.wait()
            raise RuntimeError(f"It did not start: {self.log.read_text()}")
        addresses = dict(line.strip().split(": ", 1) for line in lines)
        self.url = addresses["REST"]
        self.grpc = addresses["gRPC"]

    def post(self, path, **kwargs):
        return requests.post(f"{self.url}/v1/models/{path}", **kwargs)

    def get(self, path):
        return requests.get(self.url + path, timeout=60)

    def versions(self, model="small"):
        """Returns the state of each version."""
        status = self.get(f"/v1/models/{model}").json()
        return {
            int(version["version"]): version["state"]
            for version in status["model_version_status"]
        }

    def metric(self, name):
        """Returns the values of a metric by their labels."""
        page = self.get("/monitoring/prometheus/metrics").text
        lines = [line.rsplit(" ", 1) for line in page.splitlines()]
        return {k: float(v) for k, v in lines if k.startswith(name)}

    def memory(self):
        """Returns the resident bytes."""
        return self.metric("process_resident_memory_bytes").popitem()[1]

    def stop(self, number=signal.SIGTERM):
        """Stops the server and returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def running_server(folder, *arguments):
    server = RunningServer(folder, *arguments)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.05)
