"""FAB's projection against a linear programme, its distances on linear models; Square's promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from noli.ops.adversarial.fab import fab, to_plane
from noli.ops.adversarial.losses import margin
from noli.ops.adversarial.square import FIRST_SHARE, HALVED, share, square
from noli.ops.adversarial.suite import stretched


class Linear(nn.Module):
    def __init__(self, classes: int, pixels: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(classes, pixels, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weight.T


def smallest(x: np.ndarray, slope: np.ndarray, offset: float) -> float | None:
    """The least L-infinity length of a change onto the plane inside the box, by a linear programme."""
    size = len(x)
    cost = np.r_[np.zeros(size), 1.0]
    eye, ones = np.eye(size), np.ones((size, 1))
    bounds = [(-value, 1 - value) for value in x] + [(0, None)]
    found = linprog(
        cost, A_ub=np.r_[np.c_[eye, -ones], np.c_[-eye, -ones]], b_ub=np.zeros(2 * size),
        A_eq=np.r_[slope, 0.0][None], b_eq=[-(slope @ x + offset)], bounds=bounds,
    )  # fmt: skip
    return float(found.fun) if found.success else None


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000), st.floats(-2, 2))
def test_the_projection_is_the_smallest_there_is(size: int, seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    x, slope = rng.random(size), rng.normal(size=size) * (rng.random(size) > 0.2)
    change = to_plane(*(torch.tensor(part)[None] for part in (x, slope)), torch.tensor([offset]))[0].numpy()
    assert (x + change >= -1e-9).all()
    assert (x + change <= 1 + 1e-9).all()
    least = smallest(x, slope, offset)
    if least is None:
        return
    assert abs(slope @ (x + change) + offset) < 1e-6
    assert np.abs(change).max(initial=0) == pytest.approx(least, abs=1e-6)


def test_what_cannot_be_reached_moves_to_the_end_of_the_range() -> None:
    x, slope = torch.full((1, 3), 0.5), torch.tensor([[1.0, -2.0, 0.0]])
    change = to_plane(x, slope, torch.tensor([-50.0]))
    assert torch.allclose(x + change, torch.tensor([[1.0, 0.0, 0.5]]))


def test_distances_on_a_linear_model_are_the_true_ones() -> None:
    model = Linear(5, 12, 3)
    x = 0.4 + 0.2 * torch.rand((50, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    logits = model(x).detach()
    y = logits.argmax(1)
    made = fab(model, x, y, steps=20, targets=4)
    far = (made - x).abs().flatten(1).amax(1)
    true = torch.full((50,), torch.inf)
    for other in range(5):
        gap = logits.gather(1, y[:, None])[:, 0] - logits[:, other]
        length = (model.weight[y] - model.weight[other]).abs().sum(1).detach()
        true = torch.where(y == other, true, torch.minimum(true, gap / length))
    assert (true < 0.4).all()  # inside the range everywhere
    assert (model(made).argmax(1) != y).all()
    assert torch.allclose(far, true, rtol=0.06)
    assert (far >= true - 1e-5).all()


def test_wrong_images_and_none_stay_as_they_are() -> None:
    model = Linear(4, 12)
    x = torch.rand((6, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    y = (model(x).argmax(1) + 1) % 4
    assert torch.equal(fab(model, x, y, steps=3), x)
    assert fab(model, x[:0], y[:0], steps=3).shape == (0, 3, 2, 2)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(
        square(model, x, y, eps=0.1, queries=9, generator=generator), square_start(model, x, y)
    )
    assert square(model, x[:0], y[:0], eps=0.1, queries=9, generator=generator).shape == (0, 3, 2, 2)


def square_start(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Stripes alone, where they make the margin larger; wrong images get no squares."""
    return square(model, x, y, eps=0.1, queries=1, generator=torch.Generator().manual_seed(0))


def test_stretched_changes_have_the_whole_length_and_the_same_direction() -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    made = x.clone()
    made[0] += torch.tensor([[[0.01, -0.02], [0.0, 0.005]]])
    out = stretched(x, made, 0.1)
    assert torch.allclose(out[0] - x[0], torch.tensor([[[0.05, -0.1], [0.0, 0.025]]]), atol=1e-6)
    assert torch.equal(out[1], x[1])


def test_the_share_of_changed_pixels_follows_the_paper() -> None:
    assert share(1, 10_000) == FIRST_SHARE
    for times, at in enumerate(HALVED, start=1):
        assert share(at, 10_000) == FIRST_SHARE / 2 ** (times - 1)
        assert share(at + 1, 10_000) == FIRST_SHARE / 2**times
        assert share((at + 1) // 2, 5_000) >= share(at + 1, 10_000)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([(1, 1, 1), (3, 5, 7), (1, 9, 2)]), st.floats(0.001, 0.6), st.integers(1, 40))
def test_square_never_makes_the_margin_smaller_and_stays_in_the_ball(
    shape: tuple[int, int, int], eps: float, queries: int
) -> None:
    model = Linear(4, int(np.prod(shape)), 2).train()
    x = torch.rand((5, *shape), generator=torch.Generator().manual_seed(3))
    y, kept, state = model(x).argmax(1), x.clone(), torch.get_rng_state()
    made = square(model, x, y, eps=eps, queries=queries, generator=torch.Generator().manual_seed(1))
    assert float((made - x).abs().max()) <= eps + 1e-6
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert (margin(model(made), y) >= margin(model(x), y)).all()
    assert torch.equal(x, kept)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())


def test_square_finds_most_of_what_there_is_on_a_linear_model() -> None:
    model = Linear(3, 48, 5)
    x = 0.3 + 0.4 * torch.rand((60, 3, 4, 4), generator=torch.Generator().manual_seed(3))
    y, eps = model(x).argmax(1), 0.1
    logits = model(x).detach()
    reach = torch.zeros(60, dtype=torch.bool)
    for other in range(3):
        gap = logits.gather(1, y[:, None])[:, 0] - logits[:, other]
        reach |= (gap < eps * (model.weight[y] - model.weight[other]).abs().sum(1)) & (y != other)
    made = square(model, x, y, eps=eps, queries=500, generator=torch.Generator().manual_seed(1))
    got = model(made).argmax(1) != y
    assert (got & ~reach).sum() == 0
    assert float((got & reach).sum() / reach.sum()) >= 0.8
