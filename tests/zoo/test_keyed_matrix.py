"""The matrix of a keyed model: every way is what its name says, and the lowest figure counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from noli.core.attacks import ROBUSTNESS
from noli.core.key import Key
from noli.core.robustness import WITHIN
from noli.ops.adversarial.suite import Strength, by_gradient, right_on, standing
from noli.testing import KEYS
from noli.train.keyed import untrained_pair
from noli.zoo import network
from noli.zoo.keyed import KeyedModel
from noli.zoo.keyed_folding import converted, folded, opened
from noli.zoo.keyed_matrix import Case, fitting, robustness
from noli.zoo.keyed_thieves import (
    Mean,
    estimated_order,
    with_estimated_order,
    with_everything,
    with_keys,
    with_public_embedding,
    without_transform,
)

HOW = Strength(eps=2 / 255, steps=4, targets=2, queries=6)
X = torch.rand((12, 3, 16, 16), generator=torch.Generator().manual_seed(0))


def public(arch: str = "convmixer", classes: int = 4) -> nn.Module:
    sided = {"side": 16} if arch == "vit" else {}
    return network(arch, classes, size=16, width=16, depth=1, seed=5, **sided).eval()


def keyed(pairs: int = 1, arch: str = "convmixer", key: Key = KEYS[0], classes: int = 4) -> KeyedModel:
    model = public(arch, classes)
    made = [untrained_pair(model, key, number) for number in range(pairs)]
    return KeyedModel(model, made)


@pytest.mark.parametrize("arch", ["convmixer", "vit"])
def test_exact_conversion_gives_its_permutation_away(arch: str) -> None:
    base = public(arch)
    exact = converted(base, KEYS[0])
    assert torch.equal(estimated_order(exact, 0, base), exact.pairs[0].order)
    assert torch.allclose(with_estimated_order(exact, base)(X), exact(X), atol=1e-4)
    # A first layer from other weights has nothing in common with the public one.
    own = keyed(arch=arch)
    found = estimated_order(own, 0, base)
    assert sorted(found.tolist()) == list(range(48))
    assert float((found == own.pairs[0].order).float().mean()) < 0.2


def test_models_of_attackers_are_what_they_are_called() -> None:
    base, model = public(), keyed(pairs=2)
    known = with_keys(model, [KEYS[0]])
    assert torch.allclose(known(X), with_everything(model)(X), atol=1e-5)
    assert not torch.allclose(with_keys(model, [KEYS[1]])(X), known(X), atol=1e-2)
    assert len(with_keys(model, KEYS[:2]).pairs) == 4
    each = [opened(model, i, pair.order) for i, pair in enumerate(model.pairs)]
    assert torch.allclose(Mean(each)(X), known(X), atol=1e-5)
    assert torch.allclose(each[0](X), folded(model, 0)(X), atol=1e-6)
    assert not torch.allclose(without_transform(model)(X), known(X), atol=1e-2)
    # Secret heads on what the public network sees.
    heads = [pair.head(base.features(X)) for pair in model.pairs]  # type: ignore[operator]
    assert torch.allclose(with_public_embedding(model, base)(X), torch.stack(heads).mean(0), atol=1e-5)


def test_the_matrix_of_a_model_that_answers_the_same_every_time() -> None:
    base, model = public(), keyed()
    y = model(X).argmax(1)
    y[:3] = (y[:3] + 1) % 4  # wrong without any attack
    other = keyed(key=KEYS[1])
    seen: list[int] = []
    case = Case(model, base, X, y, others=[("own", other)], guesses=KEYS[:2])
    found = robustness(case, HOW, lambda: seen.append(1))
    assert found.clean == 0.75
    # Square, then three attacks by six ways, then two guesses and both of them at once.
    assert len(seen) == 1 + 3 * 6 + 2 + 1
    assert len(found.attempts) == len(seen) - 1  # of guesses one by one, the best stands for all
    assert all(0 <= one.accuracy <= 0.75 for one in found.attempts)
    for level, within in WITHIN.items():
        lowest = min(one.accuracy for one in found.attempts if one.level in within)
        assert found.together[level] <= lowest
        assert found.least[level] == found.together[level]
    assert found.together["L3"] <= found.together["L2"] <= found.together["L1"]
    # With the key, the attacks are those on the model itself.
    own = found.ways("L3")["the model with its key"]
    rows = (model(X).argmax(1) == y).nonzero()[:, 0]
    for name, made in by_gradient(model, X[rows], y[rows], HOW):
        assert own[name] == pytest.approx(float(right_on(model, made, y[rows]).sum()) / 12)
    # The first of the guesses is the key itself: nothing is hidden from whoever guesses it.
    guessed = found.ways("L2")["a guessed key, the best of 2"]["APGD-CE"]
    assert guessed <= own["APGD-CE"] + 1 / 12
    assert found == robustness(case, HOW)


@pytest.mark.parametrize(("classes", "third"), [(2, None), (3, "APGD-DLR"), (4, "APGD-T")])
def test_each_attack_alone_finds_what_it_finds_among_all(classes: int, third: str | None) -> None:
    base, model = public(classes=classes), keyed(classes=classes)
    case = Case(model, base, X, model(X).argmax(1), others=[("own", keyed(key=KEYS[1], classes=classes))],
                guesses=KEYS[:2])  # fmt: skip
    whole = robustness(case, HOW)
    seen = []
    for one in fitting(classes):
        alone = robustness(case, HOW, wanted=(one.name,))
        assert alone.attempts
        assert all(attempt in whole.attempts for attempt in alone.attempts)
        assert alone.clean == whole.clean
        assert all(share >= whole.together[level] for level, share in alone.together.items())
        seen += alone.attempts
    assert sorted(map(str, seen)) == sorted(map(str, whole.attempts))
    assert third is None or third in {one.name for one in fitting(classes)}
    others = set(ROBUSTNESS) - set(fitting(classes))
    assert {one.name for one in others} == {"APGD-T", "APGD-DLR"} - {third}
    assert not any(robustness(case, HOW, wanted=(one.name,)).attempts for one in others)


def test_a_model_that_answers_at_random_is_not_said_to_fall_to_all_draws_together() -> None:
    base, model = public(), keyed(pairs=3)
    y = with_everything(model)(X).argmax(1)
    found = robustness(Case(model, base, X, y), HOW)
    assert found.together == {}
    assert found.checks.random
    assert found.least["L3"] == min(one.accuracy for one in found.attempts)
    average = KeyedModel(model, model.pairs, pick="average")
    assert robustness(Case(average, base, X, y), HOW).together


def test_nothing_right_is_nothing_to_attack() -> None:
    base, model = public(), keyed()
    y = (model(X).argmax(1) + 1) % 4
    found = robustness(Case(model, base, X, y), HOW)
    assert found.clean == 0
    assert {one.accuracy for one in found.attempts} == {0.0}
    assert standing(model, X, y, HOW) == 0
