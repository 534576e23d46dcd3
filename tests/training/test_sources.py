"""The sources of training patches, and their shares."""

import dataclasses

import pytest

from keras_radn.datasets import BlurStrength, ImagePairs, SyntheticBlur
from keras_radn.training import train
from keras_radn.training.batches import draws_of, parts_after
from keras_radn.training.sources import source_shares, training_sources


def test_sources_and_shares(config):
    sources = training_sources(config)
    assert [type(source) for source in sources] == [ImagePairs, SyntheticBlur]
    assert source_shares(config) == [0.5, 0.5]
    for alone in ("pairs", "stills"):
        other = {"pairs": "stills", "stills": "pairs"}[alone]
        one = dataclasses.replace(config, **{other: None})
        assert source_shares(one) == [1.0]
    wrong = dataclasses.replace(config, strength={"wobble": 1})
    with pytest.raises(ValueError, match=r"unknown entry.*wobble"):
        training_sources(wrong)
    later = dataclasses.replace(
        config, progression=[{"step": 3, "strength": {"wobble": 1}}]
    )
    with pytest.raises(ValueError, match=r"unknown entry.*wobble"):
        train(later, "nowhere")
    jpeg = dataclasses.replace(config, strength={"jpeg": 1.0})
    assert training_sources(jpeg)[1].strength.jpeg == 1


def test_blur_of_a_later_part(config):
    """Each part of the stream has a strength of its own."""
    sources = training_sources(config)
    draws = [
        draws_of(stage, sources, stage.seed) for *_, stage in config.stages()
    ]
    assert [part.patch_size for part in draws] == [32, 48]
    blurs = [part.sources[1].strength for part in draws]
    assert blurs == [BlurStrength(), BlurStrength(path_scale=1.0)]
    assert parts_after(config, 0) == [(0, 0, 3), (1, 3, 5)]
    assert parts_after(config, 4) == [(1, 4, 5)]  # goes on in the second
