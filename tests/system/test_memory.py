import psutil
import pytest

from keras_radn.system.memory import available_bytes


def test_without_control_group(tmp_path):
    available = psutil.virtual_memory().available
    assert available_bytes(tmp_path) == pytest.approx(available, rel=0.2)


@pytest.mark.parametrize(
    ("limit", "usage", "folder", "cache"),
    [
        ("memory.max", "memory.current", "", "inactive_file"),
        (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "memory",
            "total_inactive_file",
        ),
    ],
)
def test_limit_of_a_control_group(limit, usage, folder, cache, tmp_path):
    """The page cache counts as available."""
    folder = tmp_path / folder
    folder.mkdir(exist_ok=True)
    (folder / limit).write_text("1000\n")
    (folder / usage).write_text("700\n")
    assert available_bytes(tmp_path) == 300
    (folder / "memory.stat").write_text(f"anon 5\n{cache} 100\n{cache}_x 7\n")
    assert available_bytes(tmp_path) == 400
    (folder / usage).write_text("1200\n")
    assert available_bytes(tmp_path) == 0
    (folder / limit).write_text("max\n")
    assert available_bytes(tmp_path) > 2**20


@pytest.mark.parametrize(
    ("membership", "folder", "limit", "usage"),
    [
        ("0::/a.slice/b", "", "memory.max", "memory.current"),
        (
            "3:cpu:/other\n2:hugetlb,memory:/a.slice/b\n0::/",
            "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        ),
    ],
)
@pytest.mark.parametrize("tighter", ["a.slice", "a.slice/b"])
def test_limit_of_the_own_group(
    membership, folder, limit, usage, tighter, tmp_path
):
    """The tightest limit of the group and its parents counts."""
    (tmp_path / "self").write_text(membership + "\n")
    for name in ("a.slice", "a.slice/b", "other"):
        group = tmp_path / folder / name
        group.mkdir(parents=True)
        left = {tighter: 300, "other": 100}.get(name, 500)
        (group / limit).write_text("1000\n")
        (group / usage).write_text(f"{1000 - left}\n")
    assert available_bytes(tmp_path, tmp_path / "self") == 300
    # As in a container that sees its own group only, by its host's path.
    (tmp_path / "self").write_text(membership.replace("/a.", "/../host/a."))
    assert available_bytes(tmp_path, tmp_path / "self") > 2**20
