import pytest

from keras_radn.files import remove_partials, written_beside


def test_takes_the_place_of_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with written_beside(path) as partial:
        assert partial.parent == path.parent
        assert partial.suffix == ".csv"
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail():
        with written_beside(path) as partial:
            partial.write_text("ne")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write_folder(path, text, fail=False):
    with written_beside(path) as partial:
        partial.mkdir()
        (partial / "part").write_text(text)
        if fail:
            raise OSError("full")


def test_folders(tmp_path):
    path = tmp_path / "1"
    write_folder(path, "old")
    with pytest.raises(OSError, match="full"):
        write_folder(path, "new", fail=True)
    assert (path / "part").read_text() == "old"
    write_folder(path, "new")
    assert (path / "part").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_take_its_place(tmp_path, monkeypatch):
    path = tmp_path / "1"
    write_folder(path, "old")

    def fail(*_):
        raise OSError("refused")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OSError, match="refused"):
        write_folder(path, "new")
    assert (path / "part").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left(tmp_path):
    for name in (".a.12.png", ".a.123.png", "a.png", ".a.b.png", ".ab.1.png"):
        (tmp_path / name).touch()
    with written_beside(tmp_path / "a.png") as partial:
        partial.touch()
        remove_partials(tmp_path / "a.png")
        assert not partial.exists()
        partial.touch()
    remove_partials(tmp_path / "none" / "a.png")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.png", ".a.b.png", ".ab.1.png"}
