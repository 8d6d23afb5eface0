"""The search for noise against a slow version that knows nothing of batches, and its promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from studies import some_lesson

from noli import zoo
from noli.core.model import Model
from noli.methods.protect import rem, sem
from noli.ops.augment import crop_flip
from noli.train.minmin import robust
from noli.train.perturb import Adversary, Descent, NoiseThenAdversary, Uniform, search

EPS = 8 / 255


@pytest.fixture
def model():
    made = zoo.network("tiny", 3, 3, size=16, seed=1)
    made.train()
    return made


def batch(n=5, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, side, side, generator=generator), torch.arange(n) % 3


def slow(model, x, y, start, how, mask=None):
    """One image at a time, projection written out step by step."""
    model.eval()
    out = []
    for i in range(len(x)):
        noise = start[i : i + 1].clone()
        if mask is not None:
            noise = noise * mask[i : i + 1]
        noise = (x[i : i + 1] + noise.clamp(-how.eps, how.eps)).clamp(0, 1) - x[i : i + 1]
        for _ in range(how.steps):
            variable = noise.clone().requires_grad_(True)
            loss = F.cross_entropy(model(x[i : i + 1] + variable), y[i : i + 1])
            (gradient,) = torch.autograd.grad(loss, variable)
            change = gradient.sign() * (how.step if how.ascend else -how.step)
            noise = (noise + (change if mask is None else change * mask[i : i + 1])).clamp(-how.eps, how.eps)
            noise = (x[i : i + 1] + noise).clamp(0, 1) - x[i : i + 1]
        out.append(noise)
    model.train()
    return torch.cat(out)


@pytest.mark.parametrize("ascend", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_search_equals_one_image_at_a_time(model, ascend, masked):
    x, y = batch()
    start = (torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) - 0.5) * EPS
    mask = (
        (torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(4)) < 0.3).float()
        if masked
        else None
    )
    how = Descent(EPS, EPS / 10, 4, ascend=ascend)
    found = search(model, x, y, start, how, torch.Generator().manual_seed(0), mask)
    # Signs of gradients near zero may differ between batch sizes: nearly all values agree, none by much.
    gap = (found - slow(model, x, y, start, how, mask)).abs()
    assert (gap < 1e-5).float().mean() > 0.99
    assert gap.max() <= 2 * how.step * how.steps + 1e-6


def slow_expectation(model, x, y, start, how, generator):
    """The mean gradient over transforms, pulled back by hand: the loss is differentiated at the perturbed
    point only, and that gradient goes through the transposed transform."""
    model.eval()
    noise = (x + start.clamp(-how.eps, how.eps)).clamp(0, 1) - x
    for _ in range(how.steps):
        total = torch.zeros_like(x)
        for _ in range(how.samples):
            drawn = generator.get_state()
            moved = crop_flip(x + noise, how.shift, generator)
            point = how.perturb(model, moved, y, generator).detach().requires_grad_(True)
            after = generator.get_state()
            (at_point,) = torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)

            def transform(z, drawn=drawn):
                return crop_flip(z, how.shift, torch.Generator().set_state(drawn))

            _, pulled = torch.autograd.functional.vjp(transform, x + noise, at_point)
            total += pulled
            generator.set_state(after)
        noise = (noise - how.step * total.sign()).clamp(-how.eps, how.eps)
        noise = (x + noise).clamp(0, 1) - x
    model.train()
    return noise


@pytest.mark.parametrize("perturb", [Uniform(4 / 255), Adversary(4 / 255, 1 / 255, 2)], ids=["sem", "rem"])
def test_search_under_transforms_and_perturbations_equals_the_definition(model, perturb):
    x, y = batch(4)
    start = (torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) - 0.5) * EPS
    how = Descent(EPS, EPS / 5, 3, samples=2, shift=2, perturb=perturb)
    found = search(model, x, y, start, how, torch.Generator().manual_seed(9))
    slow_one = slow_expectation(model, x, y, start, how, torch.Generator().manual_seed(9))
    assert ((found - slow_one).abs() < 1e-5).float().mean() > 0.99
    # The comparison notices what it is for.
    plain = search(model, x, y, start, replace(how, perturb=None), torch.Generator().manual_seed(9))
    assert ((plain - slow_one).abs() < 1e-5).float().mean() < 0.9


@pytest.mark.parametrize(("method", "passes"), [(sem, 61), (rem, 561)], ids=["sem", "rem"])
def test_a_visit_of_an_image_costs_as_many_passes_as_the_papers_say(method, passes, monkeypatch):
    """SEM: 10 x 5 for the noise, 10 for the adversary, 1 for the step; REM's noise: 10 x 5 x (1 + 10)."""
    counted = []
    forward = Model.forward
    monkeypatch.setattr(Model, "forward", lambda self, x: counted.append(len(x)) or forward(self, x))
    cfg = method.Config(network="tiny", size=16, steps=1)
    lesson = some_lesson(cfg, n=2, classes=2)
    reached = robust(lesson, random=method is sem)
    noise_alone = 50 if method is sem else 550
    # One surrogate step, then noise for every image from the final surrogate, then the error.
    assert counted == [2] * (passes + noise_alone + 1)
    assert reached["passes_per_visit"] == passes


@pytest.mark.parametrize(
    "how",
    [
        Descent(EPS, EPS / 5, 3),
        Descent(EPS, EPS / 5, 3, samples=2, shift=2),
        Descent(EPS, EPS / 5, 2, samples=2, shift=2, perturb=Uniform(4 / 255)),
        Descent(EPS, EPS / 5, 2, samples=2, shift=2, perturb=Adversary(4 / 255, 1 / 255, 2)),
        Descent(EPS, EPS / 5, 3, ascend=True),
    ],
    ids=["em", "eot", "sem", "rem", "ascend"],
)
def test_bounds_hold_and_nothing_else_changes(model, how):
    x, y = batch()
    before, weights, drawn = x.clone(), model.weight_hash(), torch.get_rng_state()
    found = search(model, x, y, None, how, torch.Generator().manual_seed(0))
    assert found.abs().max() <= EPS + 1e-6
    assert (x + found).min() >= 0
    assert (x + found).max() <= 1
    assert torch.equal(x, before)
    assert model.training
    assert model.weight_hash() == weights
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    again = search(model, x, y, None, how, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)
    other = search(model, x, y, None, how, torch.Generator().manual_seed(1))
    assert not torch.equal(found, other)


def loss(model, x, y):
    model.eval()
    value = F.cross_entropy(model(x), y).item()
    model.train()
    return value


@pytest.mark.parametrize("perturb", [None, Uniform(4 / 255), Adversary(4 / 255, 1 / 255, 3)])
def test_the_loss_goes_where_it_should(model, perturb):
    x, y = batch(12)
    start = torch.zeros_like(x)
    how = Descent(EPS, EPS / 5, 8, perturb=perturb)
    down = search(model, x, y, start, how, torch.Generator().manual_seed(0))
    up = search(model, x, y, start, Descent(EPS, EPS / 5, 8, ascend=True), torch.Generator().manual_seed(0))
    assert loss(model, x + down, y) < loss(model, x, y) < loss(model, x + up, y)


def test_masked_pixels_stay(model):
    x, y = batch()
    mask = torch.zeros(5, 1, 16, 16)
    mask[:, :, 4:9] = 1
    found = search(model, x, y, None, Descent(EPS, EPS / 5, 3), torch.Generator().manual_seed(0), mask)
    assert found[:, :, :4].abs().max() == 0
    assert found[:, :, 9:].abs().max() == 0
    assert found[:, :, 4:9].abs().max() > 0


def test_a_step_of_sem_feeds_the_surrogate_noisy_images_inside_both_balls(model):
    x, y = batch()
    how = Descent(EPS, EPS / 5, 2, samples=2, shift=0, perturb=Uniform(4 / 255))
    made = NoiseThenAdversary(how, Adversary(4 / 255, 1 / 255, 2)).before_step(
        model, x, y, torch.Generator().manual_seed(0)
    )
    gap = (made - x).abs().max().item()
    assert 4 / 255 < gap <= 12 / 255 + 1e-6
    assert made.min() >= 0
    assert made.max() <= 1
    assert np.isfinite(made.numpy()).all()
