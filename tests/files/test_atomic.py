import os

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


@pytest.fixture
def one_process_number(monkeypatch):
    """Gives all processes one number, as containers may do."""
    monkeypatch.setattr(os, "getpid", lambda: 1)


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "a.png"),
        ("a" * 60 + "1.png", "a" * 60 + "2.png"),
        ("\N{CJK UNIFIED IDEOGRAPH-65E5}" * 80 + ".png", "a" * 251 + ".png"),
    ],
)
def test_two_writers(names, tmp_path, one_process_number):
    first, second = (tmp_path / name for name in names)
    with written_beside(first) as partial:
        partial.write_text("first")
        with written_beside(second) as other:
            other.write_text("second")
        assert second.read_text() == "second"
    assert first.read_text() == "first"
    assert set(tmp_path.iterdir()) == {first, second}


def test_two_writers_of_a_folder(tmp_path, one_process_number):
    """A writer that fails keeps what the other one has moved aside."""
    path = tmp_path / "1"
    write_folder(path, "old")

    def fail():
        with written_beside(path) as partial:
            partial.mkdir()
            write_folder(path, "new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert (path / "part").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def killed(path):
    """Leaves the files of a process that is killed while it writes."""
    writing = written_beside(path)
    partial = writing.__enter__()
    partial.touch()
    return writing, partial


@pytest.mark.parametrize("name", ["a.png", "a" * 60 + "1.png"])
def test_what_killed_processes_left(name, tmp_path):
    path = tmp_path / name
    others = [".ab.0123456789abcdef.png", ".a.b.png", f"{path.stem[:-1]}2.png"]
    kept = [killed(tmp_path / other) for other in others]
    lost = [killed(path) for _ in range(2)]
    remove_partials(tmp_path / "none" / name)
    remove_partials(path)
    assert not any(partial.exists() for _, partial in lost)
    assert all(partial.exists() for _, partial in kept)


def test_a_failure_of_cleaning_up_hides_no_other(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("cannot be removed")

    monkeypatch.setattr("keras_radn.files.atomic._remove", refuse)
    with pytest.raises(OSError, match="full"):
        write_folder(tmp_path / "1", "new", fail=True)
