from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from noli import zoo
from noli.core.errors import DataError, MissingPrerequisite
from noli.zoo import encoders
from noli.zoo.base import Frozen
from noli.zoo.encoders import PACKAGED, load_encoder


def photographs(side: int = 64) -> torch.Tensor:
    from skimage import data
    from skimage.transform import resize

    sources = (data.astronaut(), data.chelsea(), data.coffee())
    return torch.tensor(np.stack([resize(image, (side, side)) for image in sources])).permute(0, 3, 1, 2)


def test_the_packaged_encoder_knows_a_cat(capsys: pytest.CaptureFixture[str]) -> None:
    model = load_encoder(PACKAGED).eval()
    assert capsys.readouterr().out == ""
    with torch.no_grad():
        features = model.features(photographs(224).float())
        scores = model.net.body.net._fc(features)
    assert features.shape == (3, 1280)
    assert 281 <= int(scores[1].argmax()) <= 285  # the five kinds of cats among ImageNet's classes


def test_size_and_grey_are_brought_to_the_encoder() -> None:
    model = load_encoder(PACKAGED, side=64).eval()
    with torch.no_grad():
        grey = torch.rand(2, 1, 40, 30, generator=torch.Generator().manual_seed(0))
        assert torch.equal(model.features(grey), model.features(grey.repeat(1, 3, 1, 1)))
        assert model(grey[:0]).shape == (0, 1280)


def test_a_missing_package_names_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "packaged", lambda: False)
    with pytest.raises(MissingPrerequisite, match="EfficientNet") as found:
        load_encoder(PACKAGED)
    assert "noli[encoders]" in str(found.value.fix)


def test_a_model_file_of_noli_is_an_encoder(tmp_path: Path) -> None:
    model = zoo.network("tiny", 4, seed=3)
    model.save(tmp_path / "m.safetensors")
    assert load_encoder(str(tmp_path / "m.safetensors")).weight_hash() == model.weight_hash()


def test_unknown_and_damaged_encoders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such encoder"):
        load_encoder(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="cannot be read"):
        load_encoder(str(tmp_path))


def test_a_clip_folder_gives_its_joint_space(clip_folder: Path) -> None:
    from transformers import CLIPModel

    model, net = load_encoder(str(clip_folder)).eval(), CLIPModel.from_pretrained(clip_folder).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net.visual_projection(net.vision_model((x - 0.4) / 0.2).pooler_output)
        assert expected.shape == (2, 12)
        torch.testing.assert_close(model.features(x), expected)


def test_another_folder_gives_its_pooled_features(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])
    with torch.random.fork_rng():
        net = transformers.ResNetModel(config).eval()
    net.save_pretrained(tmp_path)
    model = load_encoder(str(tmp_path)).eval()
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.features(x), net((x - 0.5) / 0.5).pooler_output.flatten(1))


def test_a_frozen_network_stays_as_it_is_and_passes_gradients() -> None:
    frozen = Frozen(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)))
    outer = nn.Sequential(frozen).train()
    x = torch.rand(3, 1, 4, 4, requires_grad=True)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    outer(x).square().sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert not any(weight.requires_grad for weight in frozen.parameters())
