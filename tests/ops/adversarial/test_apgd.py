"""Auto-PGD against a slow form of its algorithm, against what is known of linear models, and its promises."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from noli.core.errors import UsageError
from noli.ops.adversarial.apgd import apgd, apgd_targeted, checkpoints
from noli.ops.adversarial.losses import cross_entropy, dlr, margin, runners_up, targeted_dlr
from noli.ops.pgd import pgd_linf
from noli.zoo import network


class Linear(nn.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, classes: int, pixels: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(classes, pixels, generator=generator))
        self.bias = nn.Parameter(torch.randn(classes, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


def images(count: int, shape: tuple[int, int, int] = (3, 2, 2), seed: int = 1) -> torch.Tensor:
    """Grey enough that no ball of the tests meets the ends of the range."""
    return 0.3 + 0.4 * torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("steps", [1, 2, 9, 20, 50, 100, 101])
def test_checkpoints_follow_the_paper(steps: int) -> None:
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = sorted({ceil(share * steps) for share in shares[1:] if share < 1})
    assert checkpoints(steps) == places
    assert all(one < other for one, other in pairwise(checkpoints(steps)))


def slow_apgd(model: Linear, start: np.ndarray, label: int, eps: float, steps: int) -> np.ndarray:
    """Algorithm 1 of arXiv 2003.01690 for one image, word by word."""
    weight, bias = (part.detach().double().numpy() for part in (model.weight, model.bias))

    def value(x: np.ndarray) -> tuple[float, np.ndarray, bool]:
        scores = weight @ x + bias
        p = np.exp(scores - scores.max())
        p /= p.sum()
        loss = -np.log(p[label])
        p[label] -= 1
        return float(loss), weight.T @ p, int(scores.argmax()) != label

    def projected(x: np.ndarray) -> np.ndarray:
        return np.clip(np.clip(x, start - eps, start + eps), 0, 1)

    size = 2 * eps
    before = now = best = start
    f, slope, wrong = value(now)
    f_best, slope_best = f, slope
    out, out_score = now, (wrong, f)
    rises, since, size_then, f_then, reviewed = 0, 0, np.inf, f, set(checkpoints(steps))
    for step in range(1, steps + 1):
        ahead = projected(now + size * np.sign(slope))
        after = ahead if step == 1 else projected(now + 0.75 * (ahead - now) + 0.25 * (now - before))
        f_after, slope_after, wrong = value(after)
        rises, since = rises + (f_after > f), since + 1
        before, now, f, slope = now, after, f_after, slope_after
        if f > f_best:
            best, f_best, slope_best = now, f, slope
        if (wrong, f) > out_score:
            out, out_score = now, (wrong, f)
        if step in reviewed:
            halve = rises < 0.75 * since or (size_then == size and f_then >= f_best)
            size_then, f_then = size, f_best
            if halve:
                size, now, before, f, slope = size / 2, best, best, f_best, slope_best
            rises = since = 0
    return out


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_equals_the_algorithm_one_image_at_a_time(steps: int) -> None:
    model, x, y = Linear(5, 12, 0).double(), images(7).double(), torch.arange(7) % 5
    fast = apgd(model, x, y, eps=0.1, steps=steps)
    for i in range(7):
        slow = slow_apgd(model, x[i].numpy().ravel(), int(y[i]), 0.1, steps)
        assert np.allclose(fast[i].numpy().ravel(), slow, atol=1e-9)


def standing(model: Linear, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """Which images of a linear model nothing inside the ball gets, exactly: margins against L1 lengths."""
    logits = model(x)
    right = torch.ones(len(x), dtype=torch.bool)
    for other in range(logits.shape[1]):
        gap = logits.gather(1, y[:, None])[:, 0] - logits[:, other]
        reach = eps * (model.weight[y] - model.weight[other]).abs().sum(1)
        right &= (gap > reach) | (y == other)
    return right.detach()


def test_finds_everything_that_there_is_on_a_linear_model() -> None:
    model, x = Linear(6, 12, 3), images(200, seed=4)
    y = model(x).argmax(1)
    eps = 0.05
    true = standing(model, x, y, eps)
    assert 0.2 < float(true.float().mean()) < 0.8
    generator = torch.Generator().manual_seed(0)
    made = apgd_targeted(model, x, y, eps=eps, steps=20, targets=5, generator=generator)
    assert torch.equal(model(made).argmax(1) == y, true)


def test_losses_equal_their_formulas() -> None:
    generator = torch.Generator().manual_seed(5)
    logits, y = torch.randn((20, 7), generator=generator).double(), torch.arange(20) % 7
    target = (y + 1 + torch.arange(20) % 6) % 7
    for i in range(20):
        z, label = logits[i].numpy(), int(y[i])
        ordered = np.sort(z)[::-1]
        other = max(z[k] for k in range(7) if k != label)
        assert margin(logits, y)[i] == pytest.approx(other - z[label])
        assert dlr(logits, y)[i] == pytest.approx((other - z[label]) / (ordered[0] - ordered[2]))
        wanted = (z[int(target[i])] - z[label]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)
        assert targeted_dlr(target)(logits, y)[i] == pytest.approx(wanted)
        assert cross_entropy(logits, y)[i] == pytest.approx(np.log(np.exp(z).sum()) - z[label])
    first = runners_up(lambda _: logits, logits, y, 3)
    for i in range(20):
        ranked = [k for k in np.argsort(-logits[i].numpy()) if k != int(y[i])]
        assert first[:, i].tolist() == ranked[:3]
    # Confidence must hide nothing.
    assert torch.allclose(dlr(1000 * logits, y), dlr(logits, y))
    with pytest.raises(UsageError, match="3 classes"):
        dlr(logits[:, :2], y % 2)
    with pytest.raises(UsageError, match="4 classes"):
        targeted_dlr(target)(logits[:, :3], y % 3)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 5), st.sampled_from([(1, 1, 1), (3, 5, 7), (1, 9, 2)]),
    st.floats(0.001, 0.6), st.integers(1, 6), st.booleans(),
)  # fmt: skip
def test_stays_in_the_ball_and_leaves_everything_as_it_was(
    count: int, shape: tuple[int, int, int], eps: float, steps: int, starts: bool
) -> None:
    model = Linear(4, int(np.prod(shape)), 2).train()
    x = torch.rand((count, *shape), generator=torch.Generator().manual_seed(count))
    y, kept, state = torch.arange(count) % 4, x.clone(), torch.get_rng_state()
    generator = torch.Generator().manual_seed(1) if starts else None
    for made in (
        apgd(model, x, y, eps=eps, steps=steps, generator=generator),
        apgd_targeted(model, x, y, eps=eps, steps=steps, targets=2, generator=generator),
    ):
        assert made.shape == x.shape
        assert made.dtype == x.dtype
        assert not made.requires_grad
        if count:
            assert float((made - x).abs().max()) <= eps + 1e-6
            assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert torch.equal(x, kept)
    assert model.training
    assert model.weight.grad is None
    assert torch.equal(state, torch.get_rng_state())


class Saturated(nn.Module):
    """Logits so large that cross-entropy has no gradient, as in defences that were broken for it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1e5 * self.net(x)


def test_targets_see_through_confidence_that_hides_the_gradient() -> None:
    plain = Linear(6, 12, 3)
    x = images(100, seed=4)
    y = plain(x).argmax(1)
    model, eps = Saturated(plain), 0.1
    blind = apgd(model, x, y, eps=eps, steps=10)
    seen = apgd_targeted(model, x, y, eps=eps, steps=10, targets=5)
    left = [float((model(made).argmax(1) == y).float().mean()) for made in (blind, seen)]
    assert left[0] > 0.9
    assert left[1] < 0.5


def test_draws_average_over_a_model_that_answers_at_random() -> None:
    class Noisy(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            sign = 1.0 if self.calls % 4 else -3.5  # one answer in four turns the gradient round, and more
            flat = x.flatten(1).sum(1)
            return torch.stack([-sign * flat, sign * flat], 1)

    x, y = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)
    noisy = Noisy()
    made = apgd(noisy, x, y, eps=0.1, steps=2, draws=4)
    assert noisy.calls == 4 * 3
    assert made.shape == x.shape


def test_leaves_no_more_standing_than_pgd_with_as_many_steps() -> None:
    model = network("tiny", 4, size=16, seed=3)
    generator = torch.Generator().manual_seed(2)
    x = torch.rand((64, 3, 16, 16), generator=generator)
    y = torch.from_numpy(model.predict(x.numpy()).argmax(1))
    eps = 0.5 / 255
    left = []
    for attack in (pgd_linf, apgd):
        made = attack(model, x, y, eps=eps, steps=20)  # type: ignore[operator]
        left.append(float((torch.from_numpy(model.predict(made.numpy()).argmax(1)) == y).float().mean()))
    assert left[1] <= left[0] + 1 / 64
