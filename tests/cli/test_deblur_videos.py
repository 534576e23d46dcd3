"""`keras-radn deblur` with videos."""

import json
from fractions import Fraction

import av
import pytest
from PIL import Image

from tests.cli.command import run
from tests.inference.video.clips import moving, read_frames, write_clip


@pytest.mark.slow
def test_pictures_and_videos(photo, identity_file, tmp_path, capsys):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(photo[:40, :50]).save(folder / "a.png")
    write_clip(folder / "b.mp4", moving(photo, 3), sound="aac")
    write_clip(
        folder / "c.avi",
        moving(photo, 3),
        "mjpeg",
        "yuvj420p",
        time_base=Fraction(1, 10),
        rate=10,
    )
    (folder / "d.mp4").write_text("no video")
    report = tmp_path / "report.json"
    status, out, err = run(
        capsys,
        *("deblur", folder, "-o", output, "--compare", "--json", report),
        *("--model", identity_file),
    )
    assert status == 1
    names = ["a.png", "b.mp4", "c.avi.mkv"]
    assert out == [str(output / name) for name in names]
    assert {p.name for p in output.iterdir()} == {*names, "a.png.compare.jpg"}
    assert len(err) == 2
    assert "d.mp4 is not a readable video" in err[0]
    assert len(read_frames(output / "c.avi.mkv")) == 3
    with av.open(output / "c.avi.mkv") as container:
        assert container.streams.video[0].average_rate == 10
    rows = json.loads(report.read_text())
    assert [row["pages"] for row in rows] == [1, 3, 3, 0]
    assert (rows[1]["width"], rows[1]["height"]) == (64, 48)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{clip}", "-o", "{tmp}/b.avi"], "videos are written as"),
        (["{clip}", "-o", "{tmp}/b.png"], "videos are written as"),
        (["{clip}", "-o", "{clip}"], "clip.mp4"),
        (["{clip}", "-o", "{tmp}/b.mp4", "--ray"], "output is a folder"),
        (["{clip}", "-o", "nowhere://b", "--ray"], "nowhere://b"),
    ],
)
def test_errors(arguments, message, photo, identity_file, tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", moving(photo, 2))
    before = clip.read_bytes()
    arguments = [a.format(clip=clip, tmp=tmp_path) for a in arguments]
    status, out, err = run(
        capsys, "deblur", "--model", identity_file, *arguments
    )
    assert (status, out, len(err)) == (1, [], 1)
    assert message in err[0]
    assert clip.read_bytes() == before
    assert list(tmp_path.iterdir()) == [clip]


def test_plan_of_a_cluster(photo, tmp_path, capsys):
    """A dry run does not need Ray."""
    clip = write_clip(tmp_path / "a.mp4", moving(photo, 2))
    output = f"{tmp_path.as_uri()}/out"
    status, out, err = run(
        capsys, "deblur", clip.as_uri(), "-o", output, "--ray", "--dry-run"
    )
    assert (status, err) == (0, [])
    assert out == [f"{clip.as_uri()} -> {output}/a.mp4"]
    assert not (tmp_path / "out").exists()
