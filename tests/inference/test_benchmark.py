import time

import numpy as np
import pytest
import tensorflow as tf

from keras_radn import RADN, inference_model
from keras_radn.inference import benchmark, tiling
from keras_radn.models.cost import count_macs
from tests.conftest import TINY_RADN


@pytest.fixture
def tiny_presets(monkeypatch):
    """Makes the preset `radn_final` a tiny network."""
    config = {"config": TINY_RADN, "description": ""}
    monkeypatch.setattr(RADN, "presets", {"radn_final": config})


@pytest.mark.slow
def test_measures(tiny_presets):
    measured = benchmark.measure_here(
        "radn_final", 64, 48, repetitions=1, convolutions=True
    )
    model = RADN(**TINY_RADN)
    assert measured.parameters == model.count_params()
    assert measured.gmacs * 1e9 == count_macs(model, 48, 64)
    assert measured.tiles == 1
    assert measured.device == benchmark.device_name()
    assert min(measured.seconds, measured.convolutions) > 0
    assert measured.overhead == measured.seconds / measured.convolutions
    assert measured.ratio == measured.seconds / measured.calibration
    rate = 640 * 360 * 9 * 128**2 / measured.calibration
    np.testing.assert_allclose(
        measured.share, count_macs(model, 48, 64) / measured.seconds / rate
    )
    assert measured.peak_megabytes > -1  # the kernel's counts are not exact


@pytest.mark.slow
def test_large_images_are_done_in_tiles(tiny_presets, monkeypatch):
    monkeypatch.setattr(tiling, "affordable_pixels", lambda: 300 * 300)
    measured = benchmark.measure_here("radn_final", 640, 320, repetitions=1)
    assert measured.tiles > 1
    assert measured.gmacs * 1e9 > count_macs(RADN(**TINY_RADN), 320, 640)
    with pytest.raises(ValueError, match="without tiles"):
        benchmark.measure_here("radn_final", 640, 320, convolutions=True)


def test_a_call_ends_with_the_work_of_the_devices(monkeypatch):
    monkeypatch.setattr(
        tf.test.experimental, "sync_devices", lambda: time.sleep(0.02)
    )
    [seconds] = benchmark.median_seconds(lambda: None, repetitions=3)
    assert seconds >= 0.02


def test_the_gpu_is_named_and_its_memory_measured(monkeypatch):
    """A made-up GPU takes 5 MB during the call."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    answers = {
        "get_device_details": lambda gpu: {"device_name": "NVIDIA H200"},
        "reset_memory_stats": lambda device: None,
        "get_memory_info": lambda device: {
            "current": 3 * 2**20,
            "peak": 8 * 2**20,
        },
    }
    for name, answer in answers.items():
        monkeypatch.setattr(tf.config.experimental, name, answer)
    assert benchmark.device_name() == "NVIDIA H200"
    assert benchmark.peak_megabytes(lambda: None) == 5


def test_unknown_preset():
    with pytest.raises(ValueError, match="'radn9'"):
        benchmark.measure_here("radn9", 64, 48)


@pytest.mark.slow
def test_products_are_those_of_the_network():
    """Their cost is about the MACs of the network."""
    model = RADN(**TINY_RADN)
    products = benchmark.products_of(inference_model(model).graph(64, 48))
    gigaflop = sum(map(benchmark.gigaflop, products))
    # Padding and the last convolution, which is not among them here.
    np.testing.assert_allclose(
        gigaflop, 2e-9 * count_macs(model, 48, 64), rtol=0.2
    )
