"""Gradient matching against its definition, and the differentiable SSIM against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noli import zoo
from noli.core.images import to_float
from noli.ops.matching import Matching, match, ssim_distance
from noli.ops.metrics import ssim


@pytest.fixture(scope="module")
def model():
    return zoo.network("tiny", 4, seed=3)


def cosine_distance(model, x, label, query):
    """1 - cos of the two gradients, written out."""
    model = model.eval()
    flat = []
    for images in (x, query):
        model.zero_grad()
        F.cross_entropy(model(images), torch.full((len(images),), label)).backward()
        flat.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    model.zero_grad(set_to_none=True)
    return 1 - float(F.cosine_similarity(flat[0], flat[1], dim=0))


def drawn(seed: int, count: int):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 5])
def test_the_reported_distance_is_that_of_the_gradients(model, count):
    x, query, generator = drawn(0, count), drawn(1, 1), torch.Generator().manual_seed(0)
    how = Matching(eps=8 / 255, iterations=1, shift=0)
    _, distance = match([model], x, 2, query, torch.zeros_like(x), how, generator)
    assert distance == pytest.approx(cosine_distance(model, x, 2, query), abs=1e-4)


def test_the_search_comes_closer_and_stays_within_its_bounds(model):
    x, query, generator = drawn(2, 6), drawn(3, 1), torch.Generator().manual_seed(0)
    how = Matching(eps=32 / 255, iterations=25, shift=0)
    change, _ = match([model], x, 1, query, torch.zeros_like(x), how, generator)
    assert change.abs().max() <= 32 / 255 + 1e-6
    assert (x + change).min() >= 0
    assert (x + change).max() <= 1 + 1e-6
    before = cosine_distance(model, x, 1, query)
    assert cosine_distance(model, x + change, 1, query) < 0.75 * before


def test_modes_gradients_and_weights_are_left_alone(model):
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, generator = drawn(4, 3), torch.Generator().manual_seed(0)
    match([model], x, 0, drawn(5, 2), torch.zeros_like(x), Matching(0.1, 2), generator, ssim_distance)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_perceptual_term_keeps_pictures_more_alike(model):
    x, query = drawn(6, 4), drawn(7, 1)
    likeness = []
    for weight in (0.0, 5.0):
        how = Matching(eps=32 / 255, iterations=20, shift=0, perceptual=weight)
        start, generator = torch.zeros_like(x), torch.Generator().manual_seed(0)
        change, _ = match([model], x, 1, query, start, how, generator, ssim_distance)
        likeness.append(float(ssim_distance(x, x + change).mean()))
    assert likeness[1] < likeness[0]


def test_ssim_is_that_of_scikit_image():
    draw = np.random.default_rng(0)
    one = draw.integers(0, 256, (24, 31, 3), dtype=np.uint8)
    other = np.clip(one + draw.normal(0, 20, one.shape), 0, 255).astype(np.uint8)
    found = ssim_distance(*(torch.from_numpy(to_float(image[None])) for image in (one, other)))
    assert float(found) == pytest.approx(1 - ssim(one, other), abs=2e-3)
    assert float(ssim_distance(torch.ones(1, 1, 5, 5), torch.ones(1, 1, 5, 5))) == pytest.approx(0, abs=1e-6)
