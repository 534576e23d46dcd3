"""`keras-radn train`."""

import dataclasses

from tests.cli.command import run


def test_train_says_what_is_missing(tmp_path, capsys):
    for arguments, message in (
        (["--config", tmp_path / "none.toml"], "no configuration file"),
        (["--config", "from_scratch"], "Received none of them"),
        (
            ["--config", "from_scratch", "--stills", tmp_path],
            "There are no images",
        ),
    ):
        status, _, err = run(
            capsys, "train", *arguments, "-o", tmp_path / "run"
        )
        assert (status, len(err)) == (1, 1)
        assert message in err[0]
        assert not (tmp_path / "run").exists()


def test_train_another_variant(tmp_path, capsys, monkeypatch):
    configs = []
    monkeypatch.setattr(
        "keras_radn.training.train",
        lambda config, *_, **__: configs.append(config),
    )
    arguments = ["--config", "from_scratch", "--stills", tmp_path]
    for extra in ([], ["--preset", "compact"]):
        status, *_ = run(capsys, "train", *arguments, *extra, "-o", tmp_path)
        assert status == 0
    assert configs == [
        dataclasses.replace(configs[0], preset=preset)
        for preset in ("lite", "compact")
    ]
