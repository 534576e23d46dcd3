"""Compressed bodies."""

import gzip

import pytest
from starlette.requests import Request

from keras_radn.serving.bodies import is_compressed, unzip
from keras_radn.serving.errors import ServingError

TEXT = b'{"instances": [1, 2, 3]}' * 20
FILE = gzip.compress(TEXT, mtime=0)


def test_members_after_the_first():
    assert unzip(FILE + gzip.compress(b"more"), 1000) == TEXT + b"more"
    assert unzip(b"", 1000) == b""
    assert unzip(FILE + bytes(10), 1000) == TEXT  # padded, as by tape drives


@pytest.mark.parametrize(
    "damaged",
    [
        *(FILE[:n] for n in (5, 15, len(FILE) - 8, len(FILE) - 1)),
        FILE[:-8] + bytes(4) + FILE[-4:],  # another checksum
        FILE[:-4] + bytes(4),  # another length
        FILE + b"no member",
        FILE + FILE[:-1],
        FILE[:20] + b"\xff\xff\xff" + FILE[23:],
    ],
)
def test_damaged_files(damaged):
    with pytest.raises(ServingError, match="not a whole gzip file") as caught:
        unzip(damaged, 1000)
    assert caught.value.http_status == 400


def test_the_limit_is_of_all_members():
    assert unzip(FILE, len(TEXT)) == TEXT
    for data, limit in ((FILE, len(TEXT) - 1), (FILE * 2, len(TEXT) + 1)):
        with pytest.raises(ServingError, match="larger") as caught:
            unzip(data, limit)
        assert caught.value.http_status == 413


def request(*codings):
    headers = [(b"content-encoding", coding.encode()) for coding in codings]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("codings", "compressed"),
    [
        ((), False),
        (("",), False),
        (("Identity",), False),
        (("gzip",), True),
        (("GZIP",), True),
        (("x-gzip",), True),
        (("X-GZip ",), True),
        (("identity, gzip",), True),
        (("identity", "gzip"), True),
    ],
)
def test_codings(codings, compressed):
    assert is_compressed(request(*codings)) is compressed


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "deflate, gzip", "*"])
def test_other_codings(coding):
    with pytest.raises(ServingError, match="not supported") as caught:
        is_compressed(request(coding))
    assert caught.value.http_status == 415
