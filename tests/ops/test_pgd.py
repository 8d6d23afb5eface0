import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from noli.core.model import Model
from noli.ops.pgd import pgd_l2, pgd_linf
from noli.zoo import network


class Linear(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        return self.features(x) @ self.weight.T


def linear_model(classes=3, pixels=12, seed=0):
    weight = torch.randn(classes, pixels, generator=torch.Generator().manual_seed(seed))
    return Model(Linear(weight), mean=(0.0,), std=(1.0,))


def slow_pgd(weight, x, label, eps, steps, step):
    start, x = x.copy(), x.copy()
    for _ in range(steps):
        scores = weight @ x
        p = np.exp(scores - scores.max())
        p /= p.sum()
        p[label] -= 1
        x = x + step * np.sign(weight.T @ p)
        x = np.minimum(np.maximum(x, np.maximum(start - eps, 0)), np.minimum(start + eps, 1))
    return x


@pytest.mark.parametrize(("steps", "step"), [(1, 0.03), (3, 0.02), (7, None)])
def test_equals_numpy_one_sample_at_a_time(steps, step):
    model, eps = linear_model(), 0.05
    x = torch.rand((6, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    fast = pgd_linf(model, x, y, eps=eps, steps=steps, step_size=step).numpy()
    weight = model.net.weight.detach().double().numpy()
    for i in range(6):
        flat = x[i].double().numpy().ravel()
        slow = slow_pgd(weight, flat, int(y[i]), eps, steps, 1.5 * eps / steps if step is None else step)
        assert np.allclose(fast[i].ravel(), slow, atol=1e-6)


def test_stays_in_the_ball_and_raises_the_loss():
    model = network("small", 4, size=16)
    generator = torch.Generator().manual_seed(2)
    x, y = torch.rand((8, 3, 16, 16), generator=generator), torch.arange(8) % 4
    out = pgd_linf(model, x, y, eps=8 / 255, steps=5, generator=generator)
    assert float((out - x).abs().max()) <= 8 / 255 + 1e-6
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    model.eval()
    with torch.no_grad():
        assert F.cross_entropy(model(out), y) > F.cross_entropy(model(x), y)


def test_soft_labels_equal_hard_ones():
    model, y = linear_model(), torch.tensor([0, 2])
    x = torch.rand((2, 3, 2, 2), generator=torch.Generator().manual_seed(3))
    hard = pgd_linf(model, x, y, eps=0.1, steps=3)
    assert torch.equal(hard, pgd_linf(model, x, F.one_hot(y, 3).float(), eps=0.1, steps=3))


def test_leaves_the_model_and_its_surroundings_alone():
    model = network("small", 3, size=8)
    model.train()
    model.net.head.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.random.get_rng_state()
    x, y = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(3)), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        out = pgd_linf(model, x, y, eps=0.1, steps=2, generator=torch.Generator().manual_seed(0))
        assert not torch.is_grad_enabled()
    assert not out.requires_grad
    assert model.training
    assert not model.net.head.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_random_start_differs_by_generator():
    model, x, y = linear_model(), torch.full((2, 3, 2, 2), 0.5), torch.tensor([0, 1])
    outs = [
        pgd_linf(model, x, y, eps=0.1, steps=1, step_size=0.01, generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def slow_pgd_l2(weight, x, label, eps, steps, step):
    start, x = x.copy(), x.copy()
    for _ in range(steps):
        scores = weight @ x
        p = np.exp(scores - scores.max())
        p /= p.sum()
        p[label] -= 1
        gradient = weight.T @ p
        change = x + step * gradient / np.linalg.norm(gradient) - start
        if np.linalg.norm(change) > eps:
            change *= eps / np.linalg.norm(change)
        x = np.clip(start + change, 0, 1)
    return x


@pytest.mark.parametrize(("steps", "step"), [(1, 0.1), (3, 0.3), (7, None)])
def test_l2_equals_numpy_one_sample_at_a_time(steps, step):
    model, eps = linear_model(), 0.4
    x = torch.rand((6, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    fast = pgd_l2(model, x, y, eps=eps, steps=steps, step_size=step).numpy()
    weight = model.net.weight.detach().double().numpy()
    for i in range(6):
        flat = x[i].double().numpy().ravel()
        slow = slow_pgd_l2(weight, flat, int(y[i]), eps, steps, 1.5 * eps / steps if step is None else step)
        assert np.allclose(fast[i].ravel(), slow, atol=1e-5)


def test_l2_stays_in_the_ball_raises_the_loss_and_leaves_the_model_alone():
    model = network("small", 4, size=16)
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    x, y = torch.rand((8, 3, 16, 16), generator=generator), torch.arange(8) % 4
    for random_start in (generator, None):
        out = pgd_l2(model, x, y, eps=0.5, steps=5, generator=random_start)
        assert float((out - x).flatten(1).norm(dim=1).max()) <= 0.5 + 1e-5
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1
        assert not out.requires_grad
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        assert F.cross_entropy(model(out), y) > F.cross_entropy(model(x), y)


@pytest.mark.parametrize("attack", [pgd_linf, pgd_l2])
def test_a_ball_without_radius_leaves_images_unchanged(attack):
    x, y = torch.rand((4, 3, 2, 2), generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0])
    for generator in (None, torch.Generator().manual_seed(0)):
        assert torch.equal(attack(linear_model(), x, y, eps=0, steps=2, generator=generator), x)
        assert torch.equal(attack(linear_model(), x, y, eps=0, steps=1, step_size=0.1), x)


def test_l2_random_starts_fill_the_ball():
    model, y = linear_model(), torch.zeros(400, dtype=torch.int64)
    x = torch.full((400, 3, 2, 2), 0.5)
    out = pgd_l2(model, x, y, eps=0.2, steps=1, step_size=0.0, generator=torch.Generator().manual_seed(0))
    length = (out - x).flatten(1).norm(dim=1) / 0.2
    # The share of a ball's volume within r of the radius is r^D.
    assert abs(float((length**12 < 0.5).float().mean()) - 0.5) < 0.1
