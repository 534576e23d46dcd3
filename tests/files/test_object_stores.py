import os
import sys

import pytest

from keras_radn.files.object_stores import Location, is_uri


@pytest.fixture(params=["path", "uri"])
def folder(request, tmp_path):
    """A folder, given by its path and by its URI."""
    (tmp_path / "a b").mkdir()
    root = tmp_path / "a b"
    return Location(root if request.param == "path" else root.as_uri())


def test_files(folder, tmp_path):
    root = tmp_path / "a b"
    for name in ("2.png", "1.png", "b/3.png", ".4.png", ".c/5.png"):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    found = folder.files()
    assert [str(path) for path in found] == ["1.png", "2.png", "b/3.png"]
    for path, stat in found.items():
        file = folder / path
        assert file.name == path.name
        assert file.stat() == stat
        assert stat.size == len(str(path))
        assert stat.modified == os.stat(root / path).st_mtime_ns
        assert file.read() == str(path).encode()
    assert folder.is_folder()
    assert folder.stat() is None
    assert (folder / "none").stat() is None
    assert not (folder / "none").is_folder()
    assert not (folder / "1.png").is_folder()
    with pytest.raises(FileNotFoundError):
        (folder / "none").read()


def test_writing(folder, tmp_path):
    target = folder / "new/out.bin"
    target.write(b"one")
    target.write(b"two")  # in place of the first
    assert target.read() == b"two"
    local = tmp_path / "local"
    (folder / "new/out.bin").download(local)
    assert local.read_bytes() == b"two"
    local.write_bytes(b"three")
    target.upload(local)
    assert target.read() == b"three"
    names = [p.name for p in (tmp_path / "a b" / "new").iterdir()]
    assert names == ["out.bin"]


def test_a_failure_leaves_nothing_beside(folder, tmp_path):
    """A folder has the name of the file."""
    (folder / "new/out.bin/in.bin").write(b"one")
    with pytest.raises(OSError, match=r"out\.bin"):
        (folder / "new/out.bin").write(b"two")
    names = [p.name for p in (tmp_path / "a b" / "new").iterdir()]
    assert names == ["out.bin"]


def test_uris():
    assert is_uri("s3://bucket/a")
    assert not is_uri("/a/b")
    child = Location("s3://bucket/a?region=eu-central-1") / "b/c.png"
    assert child.uri == "s3://bucket/a/b/c.png?region=eu-central-1"
    assert child.name == "c.png"
    with pytest.raises(ValueError, match="nowhere://x"):
        Location("nowhere://x")


def test_pyarrow_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"keras-radn\[ray\]"):
        Location(tmp_path)


def test_two_writers_share_nothing(tmp_path, monkeypatch):
    """Each has its own partial file, and none removes the other's."""
    target = Location(tmp_path / f"{'x' * 250}.png")
    moved, move = [], type(target._files).move

    class Files(type(target._files)):
        def move(self, source, path):
            moved.append(source)
            if len(moved) == 1:
                Location(target.uri).write(b"second")
            if len(moved) == 3:
                raise OSError("full")
            move(self, source, path)

    monkeypatch.setattr("pyarrow.fs.LocalFileSystem", Files)
    Location(target.uri).write(b"first")
    assert len(set(moved)) == 2
    assert target.read() == b"first"
    with pytest.raises(OSError, match="full"):
        Location(target.uri).write(b"third")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_object_store(monkeypatch):
    """The store is moto's S3 on this machine."""
    from moto.server import ThreadedMotoServer  # takes a second

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = f"scheme=http&endpoint_override={host}:{port}"
        bucket = Location(f"s3://bucket?{options}&allow_bucket_creation=true")
        bucket._files.create_dir("bucket")
        folder = Location(f"s3://bucket/photos?{options}")
        assert folder.stat() is None
        assert not folder.is_folder()
        for name in ("2.png", "b/1.png", ".hidden/3.png"):
            (folder / name).write(name.encode())
        assert folder.is_folder()
        found = folder.files()
        assert [str(path) for path in found] == ["2.png", "b/1.png"]
        for path, stat in found.items():
            assert (folder / path).stat() == stat
            assert (folder / path).read() == str(path).encode()
        # Nothing beside them, and nothing but whole objects.
        assert {info.path for info in objects(bucket)} == {
            f"bucket/photos/{name}"
            for name in ("2.png", "b/1.png", ".hidden/3.png")
        }
        with pytest.raises(FileNotFoundError):
            (folder / "none.png").read()
    finally:
        server.stop()


def objects(bucket):
    from pyarrow import fs

    selector = fs.FileSelector("bucket", recursive=True)
    return [i for i in bucket._files.get_file_info(selector) if i.is_file]
