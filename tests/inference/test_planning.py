from pathlib import Path

import pytest

from keras_radn.inference.cluster.planning import plan_remote_jobs
from keras_radn.inference.planning import Job, plan_jobs

FILES = ["a.jpg", "b.PNG", "note.txt", "deep/c.tif", "deep/er/a.jpg", ".d.jpg"]


@pytest.fixture
def tree(tmp_path):
    for name in FILES:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def pairs(jobs, root, output="out"):
    """Returns sources relative to the root and targets to the output."""
    assert all(job.problem is None for job in jobs)
    assert all(job.folder == root / output for job in jobs)
    return {
        str(job.source.relative_to(root)): str(
            job.target.relative_to(root / output)
        )
        for job in jobs
    }


def test_a_folder_is_mirrored(tree):
    assert pairs(plan_jobs([tree / "in"], tree / "out"), tree) == {
        "in/a.jpg": "a.jpg",
        "in/b.PNG": "b.PNG",
        "in/deep/c.tif": "deep/c.tif",
        "in/deep/er/a.jpg": "deep/er/a.jpg",
    }


def test_several_inputs(tree):
    inputs = [
        tree / "in" / "deep",
        tree / "in" / "a.jpg",
        tree / "in" / "a.jpg",
    ]
    assert pairs(plan_jobs(inputs, tree / "out"), tree) == {
        "in/deep/c.tif": "deep/c.tif",
        "in/deep/er/a.jpg": "deep/er/a.jpg",
        "in/a.jpg": "a.jpg",
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.jpg", {"in/a.jpg": "a.jpg"}),
        ("in/[ab].*", {"in/a.jpg": "a.jpg", "in/b.PNG": "b.PNG"}),
        (
            "in/**/*.jpg",
            {"in/a.jpg": "a.jpg", "in/deep/er/a.jpg": "deep/er/a.jpg"},
        ),
        ("*/deep/*.tif", {"in/deep/c.tif": "in/deep/c.tif"}),
        (
            "in/de*",
            {
                "in/deep/c.tif": "deep/c.tif",
                "in/deep/er/a.jpg": "deep/er/a.jpg",
            },
        ),
    ],
)
def test_patterns(pattern, expected, tree):
    jobs = plan_jobs([f"{tree}/{pattern}"], tree / "out")
    assert pairs(jobs, tree) == expected


def test_relative_inputs(tree, monkeypatch):
    monkeypatch.chdir(tree / "in" / "deep")
    assert [job.target for job in plan_jobs(["."], "../../out")] == [
        Path("../../out/c.tif"),
        Path("../../out/er/a.jpg"),
    ]
    targets = [job.target for job in plan_jobs([".", "../a.jpg"], "out")]
    assert targets == [
        Path("out/deep/c.tif"),
        Path("out/deep/er/a.jpg"),
        Path("out/a.jpg"),
    ]


def test_the_output_is_not_read(tree):
    """A second run does not deblur the results of the first."""
    output = tree / "in" / "deep"
    for inputs in ([tree / "in"], [f"{tree}/in/**/*.*"]):
        jobs = plan_jobs(inputs, output)
        sources = [str(job.source.relative_to(tree)) for job in jobs]
        assert sources == ["in/a.jpg", "in/b.PNG"]


def test_one_file(tree):
    source = tree / "in" / "a.jpg"
    (job,) = plan_jobs([source], tree / "b.png", compare=True)
    compare = tree / "b.png.compare.jpg"
    assert job == Job(source, tree / "b.png", compare=compare)
    (job,) = plan_jobs([source], tree / "out")
    assert job == Job(source, tree / "out" / "a.jpg", folder=tree / "out")
    # A folder whose name has a suffix.
    (tree / "out.png").mkdir()
    (job,) = plan_jobs([source], tree / "out.png")
    assert job.target == tree / "out.png" / "a.jpg"


@pytest.mark.parametrize("inputs", [["in/a.jpg"], ["in/a.jpg", "in/b.PNG"]])
@pytest.mark.parametrize("name", ["out.v2", "out.png"])
def test_a_folder_by_its_slash(inputs, name, tree):
    jobs = plan_jobs([tree / path for path in inputs], f"{tree}/{name}/")
    names = {path: path.removeprefix("in/") for path in inputs}
    assert pairs(jobs, tree, name) == names


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["in"], "out.png", "give a folder"),
        (["in/a.jpg", "in/b.PNG"], "out.png", "give a folder"),
        (["in"], "in", "never overwritten"),
        (["in/a.jpg"], "in/a.jpg", "never overwritten"),
        (["in/a.jpg"], "link.jpg", "never overwritten"),
    ],
)
def test_clashes(inputs, output, message, tree):
    (tree / "link.jpg").symlink_to(tree / "in" / "a.jpg")
    with pytest.raises(ValueError, match=message):
        plan_jobs([tree / path for path in inputs], tree / output)


@pytest.mark.parametrize(
    "names", [("x.gif", "x.gif.png"), ("a.avi", "a.avi.mkv")]
)
@pytest.mark.parametrize("remote", [False, True])
def test_one_clash_leaves_the_others(names, remote, tmp_path):
    """The file that keeps its name comes first; the other gets advice."""
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in (*names, "y.png"):
        (folder / name).touch()
    plan = plan_jobs if not remote else plan_remote_jobs
    inputs = [folder.as_uri() if remote else folder]
    jobs = {Path(job.source).name: job for job in plan(inputs, output)}
    assert list(jobs) == [*names, "y.png"]
    first, second = names
    problem = jobs[first].problem
    assert f"{output}/{second}, as " in problem
    assert f"/in/{second} is; rename one of them, or deblur it alone" in problem
    assert jobs[second].problem is jobs["y.png"].problem is None
    # As it says.
    (job,) = plan_jobs(
        [folder / first], tmp_path / f"other{Path(second).suffix}"
    )
    assert job.problem is None


def test_clashes_of_inputs(tree):
    first, second = plan_jobs(
        [tree / "in" / "a.jpg", tree / "in" / "deep" / "er" / "a.jpg"],
        tree / "out",
    )
    assert first.problem is None
    assert "would be written to" in second.problem
    # With its picture of before and after.
    (tree / "in" / "a.jpg.compare.jpg").touch()
    jobs = plan_jobs([tree / "in"], tree / "out", compare=True)
    problems = [job.source.name for job in jobs if job.problem is not None]
    assert problems == ["a.jpg.compare.jpg"]
    # A file beside it that is an input, too.
    (tree / "in" / "x.gif").touch()
    (tree / "in" / "x.gif.png").touch()
    inputs = [tree / "in" / "x.gif", tree / "in" / "x.gif.png"]
    with pytest.raises(ValueError, match="never overwritten"):
        plan_jobs(inputs, tree / "in")
    (tree / "x.gif").touch()
    jobs = plan_jobs([tree / "x.gif", tree / "in" / "x.gif.png"], tree / "out")
    assert [bool(job.problem) for job in jobs] == [True, False]
