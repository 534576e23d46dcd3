import dataclasses
from pathlib import Path

import keras
import pytest

from keras_radn import RADN, ResidualBaseline
from keras_radn.peers import PRESETS as PEERS
from keras_radn.peers.figures import TABLE_1
from keras_radn.training import TrainingConfig
from keras_radn.training import config as config_module
from keras_radn.training.ablation import TABLES


def test_config_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('stills = "photos"\nsteps = 7\n[model]\ndeform_units = 3')
    config = TrainingConfig.from_toml(path, steps=9, pairs=None)
    assert config.stills == str(tmp_path / "photos")
    assert config.steps == 9
    assert config.pairs is None
    assert config.model == {"deform_units": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step = 7", "unknown keys"),
        ("steps = ", "not valid TOML"),
        ("steps = 7", "Received none of them"),
        ('stills = "a"\nbatch_size = 0', "must be positive"),
        ('stills = "a"\nsteps = 7.5', "`steps` must be of type int"),
        ('stills = "a"\nsteps = "7"', "`steps` must be of type int"),
        ('stills = "a"\nsteps = true', "`steps` must be of type int"),
        ('stills = "a"\nlearning_rate = "1e-4"', "must be of type float"),
        ("stills = 1", "`stills` must be of type str"),
        ('stills = "a"\nfreeze_norms = "x"', "must be of type int"),
        ('stills = "a"\nprogression = [{step = 1.0}]', "an integer"),
        ('stills = "a"\n[[progression]]\nstep = 1\npatch_size = "x"', "int"),
    ],
)
def test_bad_config_file(text, message, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_toml(path)


def test_numbers_of_toml():
    config = TrainingConfig(stills="a", steps=1e6, learning_rate=1)
    assert config.steps == 10**6
    assert type(config.steps) is int


def test_missing_config_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        TrainingConfig.from_toml(tmp_path / "none.toml")


def packaged(name):
    folder = Path(config_module.__file__).parent / "configs"
    return TrainingConfig.from_toml(folder / f"{name}.toml", gopro="gopro")


def test_defaults_are_the_papers_recipe():
    config = TrainingConfig(gopro="gopro")
    assert (config.steps, config.batch_size, config.patch_size) == (
        10**6,
        16,
        256,
    )
    assert (config.learning_rate, config.warmup_steps) == (1e-4, 0)
    assert (config.decay_steps, config.ema_momentum) == (0, 0)
    assert config.dtype == "float32"


@pytest.mark.parametrize("table", [1, 2])
def test_a_config_per_row_of_the_tables(table):
    """Each is the paper's recipe for a preset of the table."""
    for preset in TABLES[table]:
        config = packaged(f"table{table}_{preset}")
        recipe = TrainingConfig(gopro="gopro", preset=preset)
        assert config == dataclasses.replace(recipe, validation_images=20)
    network = {1: RADN, 2: ResidualBaseline}[table]
    assert TABLES[table].keys() <= network.presets.keys()


@pytest.mark.parametrize("preset", sorted(set(TABLE_1) - set(RADN.presets)))
def test_a_config_per_competitor(preset):
    config = packaged(f"table1_{preset}")
    assert preset in PEERS
    assert (config.preset, config.patch_size) == (preset, 256)
    config.make_optimizer(config.learning_rate)


@pytest.mark.parametrize(
    "name", ["short", "ablation_small", "from_scratch", "grown"]
)
def test_packaged_config(name):
    config = packaged(name)
    assert config.encoder_weights == "random"
    assert config.steps % config.steps_per_epoch == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gopro": "a", "pairs": "b"}, "exclude each other"),
        ({"stills": "a", "loss": "hinge"}, "must be one of"),
        ({"stills": "a", "pairs_share": 1.5}, r"in \[0, 1\]"),
        ({"stills": "a", "validation_epochs": 0}, "must be positive"),
        ({"stills": "a", "candidates": 0}, "must be positive"),
        ({"stills": "a", "balance": -1.0}, "not be negative"),
        ({"stills": "a", "warmup_steps": -1}, "not be negative"),
        ({"stills": "a", "decay_steps": -5}, "not be negative"),
        ({"stills": "a", "learning_rate": 0.0}, "must be positive"),
        ({"stills": "a", "progression": [{"step": 9}] * 2}, "must rise"),
        ({"stills": "a", "steps": 5, "progression": [{"step": 5}]}, "less"),
        ({"stills": "a", "progression": [[5, 64]]}, "first `step`"),
        ({"stills": "a", "progression": [{"patch_size": 64}]}, "first `step`"),
        (
            {"stills": "a", "progression": [{"step": 5, "seed": 1}]},
            r"can not change \['seed'\]",
        ),
        (
            {"stills": "a", "progression": [{"step": 5, "balance": 1e-3}]},
            r"in all parts .* or in none. Received: \[0.0, 0.001\]",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**arguments)


def test_paths_are_relative_to_the_file(tmp_path):
    path = tmp_path / "a.toml"
    for encoder, expected in (
        ("random", "random"),
        ("imagenet", "imagenet"),
        ("encoder.h5", str(tmp_path / "encoder.h5")),
    ):
        path.write_text(
            f'stills = "größe"\nencoder_weights = "{encoder}"\n',
            encoding="utf-8",
        )
        config = TrainingConfig.from_toml(path)
        assert config.stills == str(tmp_path / "größe")
        assert config.encoder_weights == expected


def test_loss():
    config = TrainingConfig(stills="a", loss="mean_squared_error")
    assert isinstance(config.make_loss(), keras.losses.MeanSquaredError)


def test_stages():
    config = TrainingConfig(stills="a", patch_size=64, steps=9)
    assert config.stages() == [(0, 9, config)]
    weak = {"path_scale": 1.0}
    changes = [
        {"step": 4, "patch_size": 128, "strength": weak},
        {"step": 6, "strength": {}},
    ]
    stages = dataclasses.replace(config, progression=changes).stages()
    assert [(first, end) for first, end, _ in stages] == [
        (0, 4),
        (4, 6),
        (6, 9),
    ]
    assert [stage.patch_size for *_, stage in stages] == [64, 128, 128]
    grown = dataclasses.replace(config, progression=changes)
    assert [grown.at(step).patch_size for step in (0, 3, 4, 8, 99)] == [
        *(64, 64),
        *(128, 128, 128),
    ]
    assert [stage.strength for *_, stage in stages] == [{}, weak, {}]
