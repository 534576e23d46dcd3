"""A load test of a server, by locust (pip install locust):

    locust -f serving/locustfile.py --headless -u 8 -t 1m \\
        -H http://127.0.0.1:8501

The environment variables:
    MODEL    the model's name (default: radn)
    PICTURE  the file that is sent, JPEG or PNG (default: a made-up one of
             256x256 pixels)

A request that the server sheds (503, 429) waits for as long as Retry-After says
and is counted on a line of its own, not as a failure.
"""

import base64
import os
import struct
import zlib
from pathlib import Path

import gevent
from locust import HttpUser, task

MODEL = os.environ.get("MODEL", "radn")
SHED = {429, 503}


def made_up_picture(size=256):
    """Returns a PNG of color ramps, by the standard library."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(size) for v in (x % 256, y % 256, 128))
        for y in range(size)
    )

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", checksum)
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _body():
    file = os.environ.get("PICTURE")
    data = Path(file).read_bytes() if file else made_up_picture()
    return {
        "signature_name": "image_bytes",
        "instances": [{"b64": base64.b64encode(data).decode()}],
    }


BODY = _body()


class Photographer(HttpUser):
    """Sends one picture after the other."""

    @task
    def deblur(self):
        with self.client.post(
            f"/v1/models/{MODEL}:predict",
            json=BODY,
            name="predict",
            catch_response=True,
        ) as answer:
            if answer.status_code in SHED:
                answer.request_meta["name"] = "shed"
                answer.success()
                wait = float(answer.headers.get("Retry-After", 1))
            elif answer.status_code == 200 and "predictions" in answer.text:
                return
            else:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
                wait = 0.1
        gevent.sleep(wait)
