"""The parts of a cluster's batch that need no running Ray."""

import pickle
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_radn import RADN
from keras_radn.files import partial_name
from keras_radn.inference import Deblurrer
from keras_radn.inference.cluster.batch import (
    Ledger,
    Worker,
    _packed,
    _shares,
    _unpacked,
    deblur_on_ray,
)
from tests.conftest import TINY_RADN


def nodes(*resources):
    return SimpleNamespace(
        nodes=lambda: (
            [{"Alive": True, "Resources": r} for r in resources]
            + [{"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}}]
        )
    )


@pytest.mark.parametrize(
    ("machines", "workers", "expected"),
    [
        ([{"CPU": 8.0}], None, (1, 8, None)),
        ([{"CPU": 8.0}], 3, (3, 2, None)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 3, (3, 1, None)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], None, (2, 4, None)),
        ([{"CPU": 8.0, "GPU": 4.0}], None, (4, 2, 1)),
        ([{"CPU": 8.0, "GPU": 4.0}], 2, (2, 4, 1)),
        ([{"CPU": 8.0, "GPU": 1.0}], 4, (4, 2, None)),
        ([{"CPU": 2.0}, {}], 2, (2, 1, None)),
    ],
)
def test_workers_fit_in_their_machines(machines, workers, expected):
    assert _shares(nodes(*machines), workers) == expected


def test_too_many_workers():
    with pytest.raises(ValueError, match=r"5 workers .* the cluster has 4"):
        _shares(nodes({"CPU": 2.0}, {"CPU": 2.0}), 5)


def test_ledger():
    ledger = Ledger()
    assert ledger.begin("a") == (1, None)
    assert ledger.begin("a") == (2, None)
    ledger.end("a", "report")
    assert ledger.begin("a") == (3, "report")
    assert ledger.begin("b") == (1, None)


@pytest.fixture(scope="module")
def model():
    return RADN(**TINY_RADN)


@pytest.fixture
def worker(model):
    """A worker as on the cluster's machines, with its model given directly."""
    worker = Worker.__new__(Worker)
    worker._quality, worker._deblurrer = None, Deblurrer(model)
    return worker


def test_a_worker_reads_and_writes_uris(worker, photo, tmp_path):
    picture = photo[:30, :40]
    source, target = tmp_path / "a.png", tmp_path / "new" / "b.png"
    Image.fromarray(picture).save(source)
    report = worker.deblur(source.as_uri(), target.as_uri(), 1)
    assert (report.status, report.error) == ("done", None)
    assert (report.source, report.target) == (source.as_uri(), target.as_uri())
    with Image.open(target) as image:
        np.testing.assert_array_equal(image, picture)
    assert [p.name for p in target.parent.iterdir()] == ["b.png"]

    source.write_text("no picture")
    report = worker.deblur(source.as_uri(), f"{tmp_path.as_uri()}/c.png", 1)
    assert report.status == "failed"
    assert report.error.startswith(source.as_uri())
    with pytest.raises(FileNotFoundError):
        worker.deblur(f"{source.as_uri()}x", f"{tmp_path.as_uri()}/c.png", 1)
    assert not (tmp_path / "c.png").exists()


def test_what_is_sent_to_the_workers(photo):
    """Names and functions are sent as they are, networks without a loss."""

    def own_loss(sharp, deblurred):
        return sharp - deblurred

    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Rescaling(0.5)(images))
    model.compile("sgd", own_loss)
    sent = Deblurrer(model, ensemble=True, tile=64, overlap=0)
    received = _unpacked(pickle.loads(pickle.dumps(_packed(sent))))
    assert vars(received) | {"model": None} == vars(sent) | {"model": None}
    np.testing.assert_array_equal(
        received(photo[:40, :40] // 2 * 2), photo[:40, :40] // 2
    )
    assert sent.model is model
    for other in ("lite", None, np.copy):
        deblurrer = Deblurrer(other)
        packed = pickle.dumps(_packed(deblurrer))
        assert len(packed) < 1000
        assert _unpacked(pickle.loads(packed)).model == deblurrer.model


def test_a_worker_tidies_up_for_one_that_died(worker, photo, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(photo[:30, :40]).save(source)
    target.write_text("of the worker that died")
    (tmp_path / partial_name(target.name)).write_text("half")
    assert worker.deblur(str(source), str(target), 2).status == "done"
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png"}
    with Image.open(target) as image:
        assert image.size == (40, 30)


def test_ray_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"keras-radn\[ray\]"):
        list(deblur_on_ray(tmp_path / "a.png", tmp_path / "out"))


def test_a_dry_run_needs_no_ray(photo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    source, output, calls = tmp_path / "a.png", tmp_path / "out", []
    Image.fromarray(photo[:20, :30]).save(source)
    reports = deblur_on_ray(
        source,
        output,
        dry_run=True,
        progress=lambda *call: calls.append(call),
    )
    assert [report.status for report in reports] == ["planned"]
    assert calls == [(0, 1, 0, 0), (1, 1, 0, 0)]
    assert not output.exists()
