"""Files written by PyTorch, compared with PyTorch's own forward pass.

`make test-backends` runs it in an environment of its own.
"""

import keras
import numpy as np
import pytest
import torch
from torch.nn import functional

from keras_radn import peers
from keras_radn.cli.main import main
from tests.peers import published

WIDTH = 4


@pytest.fixture
def image(rng):
    """An image of odd sides, and the same padded for PyTorch's network."""
    image = rng.random((21, 37, 3), "float32")
    return image, np.pad(image, [(0, 11), (0, 11), (0, 0)], mode="reflect")


def as_state(entries):
    return {name: torch.from_numpy(array) for name, array in entries.items()}


def conv(state, name, x, **kwargs):
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.conv2d(x, weight, bias, **kwargs)


def double(state, name, x, **kwargs):
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.conv_transpose2d(
        x, weight, bias, stride=2, padding=1, **kwargs
    )


def dmphn_block(state, name, x):
    y = torch.relu(conv(state, f"{name}.0", x, padding=1))
    return x + conv(state, f"{name}.2", y, padding=1)


def encode(state, x):
    x = conv(state, "layer1", x, padding=1)
    for first in (2, 6, 10):
        if first > 2:
            x = conv(state, f"layer{first - 1}", x, stride=2, padding=1)
        for n in (first, first + 1):
            x = dmphn_block(state, f"layer{n}", x)
    return x


def decode(state, x):
    for first in (13, 17, 21):
        for n in (first, first + 1):
            x = dmphn_block(state, f"layer{n}", x)
        if first < 21:
            x = double(state, f"layer{first + 3}", x)
    return conv(state, "layer24", x, padding=1)


def dmphn_1_2(states, image):
    """A DMPHN of two levels, patch by patch as its authors wrote it."""
    x = torch.from_numpy(image.transpose(2, 0, 1)[np.newaxis]) - 0.5
    top, bottom = torch.chunk(x, 2, dim=2)
    features = torch.cat(
        [encode(states["encoder_lv2"], half) for half in (top, bottom)], dim=2
    )
    residual = decode(states["decoder_lv2"], features)
    features = encode(states["encoder_lv1"], x + residual) + features
    y = decode(states["decoder_lv1"], features) + 0.5
    return y.numpy()[0].transpose(1, 2, 0)


@pytest.mark.parametrize("zipped", [True, False])
def test_dmphn(zipped, image, rng, tmp_path, monkeypatch):
    """The command reads files of PyTorch, new ones and from before 1.6."""
    config = {"levels": 2, "width": WIDTH}
    monkeypatch.setattr(peers.DMPHN, "presets", {"tiny": {"config": config}})
    monkeypatch.setitem(peers.PRESETS, "tiny", peers.DMPHN)
    states = {
        stem: as_state(entries)
        for stem, entries in published.dmphn_files(rng, 2, 1, WIDTH).items()
    }
    for stem, state in states.items():
        torch.save(
            state,
            tmp_path / f"{stem}.pkl",
            _use_new_zipfile_serialization=zipped,
        )
    output = tmp_path / "model.keras"
    assert main(["convert", "tiny", str(tmp_path), "-o", str(output)]) == 0
    image, padded = image
    padded = padded[:24, :40]
    expected = dmphn_1_2(states, padded)[:21, :37]
    outputs = keras.models.load_model(output)(image[np.newaxis])[0]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs / scale, expected / scale, atol=1e-4)


def test_deblurgan(image, rng, tmp_path):
    entries = published.deblurgan_entries(rng, WIDTH, blocks=1)
    state = as_state(entries)
    statistics = {"model.2.num_batches_tracked": torch.tensor(7)}
    torch.save({**state, **statistics}, tmp_path / "latest_net_G.pth")
    model = peers.DeblurGANGenerator(WIDTH, blocks=1)
    peers.load_published(model, tmp_path / "latest_net_G.pth")

    def reflected(name, x, size):
        x = functional.pad(x, [size] * 4, mode="reflect")
        return conv(state, name, x)

    def norm(x):
        return functional.instance_norm(x, eps=1e-5)

    image, padded = image
    x = torch.from_numpy(padded[:24, :40].transpose(2, 0, 1)[np.newaxis])
    x = scaled = 2 * x - 1
    x = torch.relu(norm(reflected("model.1", x, 3)))
    for n in (4, 7):
        x = torch.relu(norm(conv(state, f"model.{n}", x, stride=2, padding=1)))
    y = torch.relu(norm(reflected("model.10.conv_block.1", x, 1)))
    x = x + norm(reflected("model.10.conv_block.6", y, 1))
    for n in (11, 14):
        y = double(state, f"model.{n}", x, output_padding=1)
        x = torch.relu(norm(y))
    y = scaled + torch.tanh(reflected("model.18", x, 3))
    expected = (y.numpy()[0].transpose(1, 2, 0)[:21, :37] + 1) / 2
    outputs = model(image[np.newaxis])[0]
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


class Code:
    """An object that runs code where a file of weights is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a file ran code')",)


def test_files_with_code_are_refused(tmp_path):
    torch.save({"model.1.weight": Code()}, tmp_path / "latest_net_G.pth")
    model = peers.DeblurGANGenerator(WIDTH, blocks=1)
    with pytest.raises(ValueError, match="not a state dictionary"):
        peers.load_published(model, tmp_path / "latest_net_G.pth")
