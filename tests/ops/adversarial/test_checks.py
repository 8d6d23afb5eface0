"""The self-checks: each sees the one defence that it is for, and not an honest model."""

from __future__ import annotations

import torch
from torch import nn

from noli.core.robustness import LEVELS, Attempt, Checks, Robustness
from noli.ops.adversarial.checks import check
from noli.ops.adversarial.suite import Strength, by_gradient
from noli.zoo import network

X = torch.rand((8, 3, 16, 16), generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4
HONEST = network("tiny", 4, size=16)


class Wrapped(nn.Module):
    def __init__(self, answer: object) -> None:
        super().__init__()
        self.net, self.answer = HONEST, answer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.answer(self.net, x)  # type: ignore[operator]
        return found


def test_an_honest_model_passes() -> None:
    found = check(HONEST, X, Y)
    assert found == Checks(random=False, probabilities=False, no_gradient=0.0, optimises=False)
    assert found.words == ()


def test_each_trick_is_seen_by_its_check() -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return net(x + 0.1 * torch.rand(x.shape, generator=generator))

    def optimising(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            inner = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(net(inner).sum(), inner)
        return net(x - 0.01 * slope)

    seen = {
        "random": check(Wrapped(noisy), X, Y),
        "probabilities": check(Wrapped(lambda net, x: net(x).softmax(1)), X, Y),
        "no_gradient": check(Wrapped(lambda net, x: net((x * 8).round() / 8)), X, Y),
        "optimises": check(Wrapped(optimising), X, Y),
    }
    for name, found in seen.items():
        flags = {
            "random": found.random, "probabilities": found.probabilities,
            "no_gradient": found.no_gradient == 1.0, "optimises": found.optimises,
        }  # fmt: skip
        assert [flag for flag, up in flags.items() if up] == [name]
        assert len(found.words) == 1


def test_what_is_open_to_whom_decides_the_least() -> None:
    checks = Checks(random=False, probabilities=False, no_gradient=0.0, optimises=False, square_better=0.25)
    assert "25%" in checks.words[0]
    attempts = tuple(
        Attempt(level=level, way="w", attack="a", accuracy=share)
        for level, share in zip(LEVELS, (0.1, 0.5, 0.6, 0.3), strict=True)
    )
    shared = {"eps": 0.1, "pictures": 10, "clean": 0.9, "attempts": attempts, "checks": checks}
    # Questions are open to whoever has the model, not to everybody who has the public network.
    assert Robustness(**shared, together={}).least == {"L0": 0.1, "L1": 0.5, "L2": 0.5, "L3": 0.1}
    assert Robustness(**shared, together={"L2": 0.4}).least["L2"] == 0.4


def test_the_set_of_attacks_suits_the_number_of_classes() -> None:
    how = Strength(eps=0.05, steps=2, targets=2, queries=3)
    for classes, names in (
        (2, ["APGD-CE", "FAB-T"]),
        (3, ["APGD-CE", "APGD-DLR", "FAB-T"]),
        (4, ["APGD-CE", "APGD-T", "FAB-T"]),
    ):
        model = network("tiny", classes, size=16)
        made = dict(by_gradient(model, X, Y % classes, how))
        assert list(made) == names
        for images in made.values():
            assert float((images - X).abs().max()) <= 0.05 + 1e-6
    assert [len(images) for _, images in by_gradient(HONEST, X[:0], Y[:0], how)] == [0, 0]
