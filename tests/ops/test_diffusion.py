"""Schedules and estimates against their definitions, the minimiser of the two losses, and the sampler."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from noli.core.errors import UsageError
from noli.ops.diffusion import Schedule, from_alpha_bar, grid, sample, schedule, share, weights

KINDS = ("epsilon", "v", "flow")


def plans() -> list[Schedule]:
    return [schedule(kind, curve) for kind in ("epsilon", "v") for curve in ("cosine", "scaled-linear")] + [
        schedule("flow")
    ]


def drawn(seed: int, n: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z, noise = (torch.randn(n, 2, 4, 4, generator=generator) for _ in range(2))
    return z, noise, torch.tensor([0, 17, 250, 600, 950])[:n]


def by_force(plan: Schedule, zt: torch.Tensor, predicted: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Solve z_t = alpha z_0 + sigma e together with the definition of the prediction, in float64."""
    alpha, sigma = (part.double() for part in plan.at(t))
    rows = {
        "epsilon": (torch.zeros_like(alpha), torch.ones_like(alpha)),
        "v": (-sigma, alpha),
        "flow": (-torch.ones_like(alpha), torch.ones_like(alpha)),
    }[plan.kind]
    # Cramer's rule, element by element.
    a, b = rows
    return (zt.double() * b - sigma * predicted.double()) / (alpha * b - sigma * a)


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.kind)
def test_estimates_against_the_equations_solved_by_force(plan: Schedule) -> None:
    z, noise, t = drawn(0)
    zt = plan.noised(z, noise, t)
    torch.testing.assert_close(plan.estimate(zt, plan.target(z, noise, t), t), z, rtol=1e-3, atol=5e-3)
    predicted = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    expected = by_force(plan, zt, predicted, t)
    found = plan.estimate(zt, predicted, t)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plan.prediction(zt, found, t), predicted, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.kind)
def test_a_shifted_prediction_shifts_the_estimate_and_nothing_else(plan: Schedule) -> None:
    z, noise, t = drawn(2)
    predicted, delta = torch.randn(z.shape), torch.randn(z.shape[1:])
    zt = plan.noised(z, noise, t)
    moved = by_force(plan, zt, plan.shifted(predicted, delta, t), t) - by_force(plan, zt, predicted, t)
    torch.testing.assert_close(moved, delta.double().expand_as(moved), rtol=2e-3, atol=2e-3)


def test_the_paper_s_form_for_noise_and_its_curve() -> None:
    plan = schedule("epsilon", "scaled-linear")
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    torch.testing.assert_close(plan.alpha.double() ** 2, bar, rtol=1e-5, atol=1e-7)
    t, delta = torch.tensor([40]), torch.full((1, 1, 1, 1), 0.5)
    found = plan.shifted(torch.zeros(1, 1, 1, 1), delta, t)
    assert found.item() == pytest.approx(-math.sqrt(bar[40] / (1 - bar[40])) * 0.5, rel=1e-4)
    for one in plans():
        assert ((one.alpha > 0) & (one.alpha < 1)).all()
        assert (one.sigma.diff() >= 0).all()
    with pytest.raises(UsageError, match="between 0 and 1"):
        from_alpha_bar("epsilon", torch.tensor([0.5, 1.5]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0, 100, 250, 400])
def test_the_minimiser_of_the_two_losses_shifts_by_their_share(kind: str, step: int) -> None:
    """Numerically, over the prediction's distance from the frozen one: spec of the paper, section 2.2."""
    plan, t = schedule(kind), torch.tensor([step])  # type: ignore[arg-type]
    eta, tau, beta, delta = 0.02, 250.0, 100.0, 0.7
    w1, w2 = (float(w) for w in weights(t, eta, tau, beta))
    frozen = torch.full((1, 1, 1, 1), 0.3)
    aim = float(plan.shifted(frozen, torch.tensor(delta), t))

    best = minimize_scalar(lambda p: w1 * (p - aim) ** 2 + w2 * (p - 0.3) ** 2).x
    zt = torch.full((1, 1, 1, 1), 0.9)
    moved = plan.estimate(zt, torch.full_like(zt, best), t) - plan.estimate(zt, frozen, t)
    assert float(moved) == pytest.approx(delta * float(share(t, eta, tau, beta)), abs=2e-4)


def test_the_share_has_the_published_sizes() -> None:
    found = share(torch.tensor([0, 50, 100, 250, 400]), 0.02, 250, 100).flatten().tolist()
    assert found == pytest.approx([0.196, 0.129, 0.082, 0.0196, 0.0044], abs=2e-3)


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.kind)
def test_sampling_with_a_perfect_denoiser_of_one_point_ends_there(plan: Schedule) -> None:
    z, noise, _ = drawn(3)

    def perfect(zt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return plan.prediction(zt, z, t)

    found = sample(perfect, plan, noise, steps=10, guidance=1)
    torch.testing.assert_close(found, z, rtol=1e-3, atol=1e-3)
    assert torch.equal(found, sample(perfect, plan, noise, steps=10, guidance=1))


def test_guidance_multiplies_what_prompts_change() -> None:
    plan = schedule("v")
    z, noise, _ = drawn(4)

    def plain(zt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return plan.prediction(zt, z, t)

    def told(zt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return plan.shifted(plain(zt, t), torch.tensor(0.1), t)

    for guidance in (1.0, 3.0):
        found = sample(told, plan, noise, steps=5, guidance=guidance, unconditional=plain)
        torch.testing.assert_close(found, z + 0.1 * guidance, rtol=1e-3, atol=1e-3)
    kept = sample(told, plan, noise, steps=5, guidance=1, limit=0.5)
    assert kept.abs().max() <= 0.5
    with pytest.raises(UsageError, match="without prompts"):
        sample(told, plan, noise, guidance=2)


def test_the_grid_goes_from_the_noisiest_step_to_the_first() -> None:
    assert grid(3, 1000) == [999, 500, 0]
    assert grid(1000, 1000) == list(range(999, -1, -1))
    with pytest.raises(UsageError, match="sampling steps"):
        grid(1, 1000)
