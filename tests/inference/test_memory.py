import psutil
import pytest

from keras_radn.inference.memory import available_bytes


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
    """What files have in the cache can be given back."""
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
