import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from noli.core.errors import DataError, UsageError
from noli.core.images import to_float
from noli.core.model import HEADER, Model, evaluating, keeping_modes


class Tiny(nn.Module):
    def __init__(self, classes=2, channels=3):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def features(self, x):
        return self.norm(x).mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


def build(arch, args):
    if arch != "tiny":
        raise ValueError("no such network")
    return Tiny(**args)


def tiny(**fields):
    args = {"classes": 2, "channels": 3}
    return Model(Tiny(**args), class_names=("cat", "dog"), arch="tiny", arch_args=args, **fields)


@pytest.fixture
def stored():
    return np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)


def test_normalisation_lives_inside(stored):
    model = tiny(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0)).eval()
    x = torch.from_numpy(to_float(stored))
    by_hand = torch.stack(
        [(x[:, c] - m) / s for c, (m, s) in enumerate([(0.1, 0.5), (0.2, 0.25), (0.3, 1.0)])], dim=1
    )
    assert torch.allclose(model(x), model.net(by_hand), atol=1e-6)
    assert torch.allclose(model.net.head(model.features(x)), model(x), atol=1e-6)


def test_predict_takes_stored_and_working_images_in_any_batch_size(stored):
    model = tiny()
    expected = model.predict(stored)
    assert expected.dtype == np.float32
    assert expected.shape == (7, 2)
    assert np.allclose(model.predict(to_float(stored), batch=3), expected, atol=1e-6)
    assert np.allclose(model.predict(stored, batch=1), expected, atol=1e-6)
    assert model.predict(stored[:0]).shape == (0, 2)


def test_predict_ignores_autocast_and_restores_every_mode(stored):
    model = tiny()
    expected = model.predict(stored)
    model.train()
    model.net.norm.eval()
    running = model.net.norm.running_mean.clone()
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(model.predict(stored), expected)
    assert model.training
    assert not model.net.norm.training
    assert torch.is_grad_enabled()
    assert torch.equal(model.net.norm.running_mean, running)


def test_modes_come_back_after_an_error():
    model = tiny()
    model.net.norm.eval()
    seen = []

    def fail():
        with evaluating(model):
            seen.append(model.training)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False]
    with keeping_modes(model):
        model.eval()
    assert model.training
    assert not model.net.norm.training


def test_save_and_load_keep_everything(tmp_path, stored):
    model = tiny(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    path = tmp_path / "m.safetensors"
    model.save(path)
    back = Model.load(path, build)
    assert np.array_equal(back.predict(stored), model.predict(stored))
    for name in ("mean", "std", "class_names", "arch", "arch_args"):
        assert getattr(back, name) == getattr(model, name)
    assert back.weight_hash() == model.weight_hash()
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_file_is_plain_safetensors_with_a_readable_header(tmp_path):
    path = tmp_path / "m.safetensors"
    tiny().save(path)
    with safe_open(path, framework="numpy") as opened:
        described = json.loads(opened.metadata()[HEADER])
        assert sorted(opened.keys()) == sorted(Tiny().state_dict())
    assert described["class_names"] == ["cat", "dog"]
    assert described["schema"] == 1
    assert b"pickle" not in path.read_bytes()


def test_weight_hash_follows_the_weights_only():
    model = tiny()
    first = model.weight_hash()
    assert first == model.to(memory_format=torch.channels_last).weight_hash()
    with torch.no_grad():
        model.net.head.bias[0] += 1
    assert model.weight_hash() != first


def test_unusable_files_are_data_errors(tmp_path):
    missing, damaged, foreign, other, narrow = (tmp_path / n for n in "abcde")
    tiny().save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:100])
    save_file({"w": torch.zeros(2)}, foreign)
    Model(Tiny(), arch="unknown").save(other)
    Model(Tiny(3), arch="tiny", arch_args={"classes": 2, "channels": 3}).save(narrow)
    texts = {
        missing: "cannot be read",
        damaged: "cannot be read",
        foreign: "description",
        other: "do not fit",
        narrow: "do not fit",
    }
    for path, text in texts.items():
        with pytest.raises(DataError, match=text) as caught:
            Model.load(path, build)
        assert caught.value.where == str(path)


@pytest.mark.parametrize(("mean", "std"), [((0.5, 0.5), (1.0,)), ((), ()), ((0.5,), (0.0,))])
def test_bad_normalisation_is_refused(mean, std):
    with pytest.raises(UsageError):
        Model(Tiny(), mean=mean, std=std)
