"""Picking locks: the search on a lock whose loss is known, the models of thieves, and what is made of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.attacks import DISPLACED, MATCHING, THEFT, WRONG_KEYS
from noli.core.model import Model
from noli.core.theft import SCRATCH, Theft, TheftRow
from noli.testing import KEYS
from noli.train.keyed import untrained_pair
from noli.train.keyed_lock import EmbeddingLock
from noli.train.picking import (
    ADAPTER,
    PASSES,
    SEARCH,
    TUNING,
    Effort,
    Images,
    Labels,
    Setting,
    climbed,
    per_class,
    pick,
)
from noli.zoo import network
from noli.zoo.keyed import KeyedModel
from noli.zoo.turns import Turn

X = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
Y = np.arange(24) % 4


class Counting:
    """A lock whose models are settings: the loss is how far each place is from where it belongs."""

    placed = True

    def __init__(self, *right: Turn) -> None:
        self.right = right
        self.signed = any((turn.sign < 0).any() for turn in right)
        self.calls: list[str] = []

    def asked(self, setting: Setting) -> Model:
        return self.opened(setting)

    def opened(self, setting: Setting) -> Model:
        return setting  # type: ignore[return-value]

    def adapted(self) -> Model:
        return "adapted"  # type: ignore[return-value]

    def loosened(self) -> Model:
        return "loosened"  # type: ignore[return-value]

    def fresh(self) -> Model:
        return "fresh"  # type: ignore[return-value]

    def few(self, x: Images, y: Labels, count: int) -> tuple[Images, Labels] | None:
        return per_class(x, y, count)

    def trained(self, model: Model, x: Images, y: Labels, epochs: int) -> Model:
        self.calls.append(f"{model} {len(x)} {epochs}")
        return model

    def loss(self, model: Any, x: Images, y: Labels) -> float:
        pairs = zip(model, self.right, strict=True)
        return sum(
            float((one.order - two.order).abs().sum() + (one.sign - two.sign).abs().sum())
            for one, two in pairs
        )

    def score(self, model: Any, x: Images, y: Labels) -> float:
        if isinstance(model, str):
            return {"adapted": 0.9, "loosened": 0.7, "fresh": 0.5}[model]
        pairs = zip(model, self.right, strict=True)
        right = [((one.order == two.order) & (one.sign == two.sign)).float() for one, two in pairs]
        return float(torch.cat(right).mean())


def turn(size: int, seed: int, *, signed: bool = False) -> Turn:
    generator = torch.Generator().manual_seed(seed)
    sign = 2.0 * torch.randint(0, 2, (size,), generator=generator) - 1 if signed else torch.ones(size)
    return Turn(torch.randperm(size, generator=generator), sign)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=3), st.integers(0, 1000), st.booleans())
def test_the_search_finds_what_gets_better_step_by_step(sizes: list[int], seed: int, signed: bool) -> None:
    lock = Counting(*(turn(size, seed + size, signed=signed) for size in sizes))
    found, asked = climbed(lock, X, Y, torch.Generator().manual_seed(seed))
    moves = sum(size * (size - 1) // 2 + size * lock.signed for size in sizes)
    assert asked <= 1 + PASSES * moves
    for one, right in zip(found, lock.right, strict=True):  # type: ignore[call-overload]
        assert sorted(one.order.tolist()) == list(range(right.size))
        # Sorting by exchanges that help ends at the answer: no other order is without one. Signs take a pass.
        assert torch.equal(one.sign, right.sign)
        if asked < 1 + PASSES * moves:
            assert torch.equal(one.order, right.order)


def test_every_attack_gets_its_pictures_and_no_others() -> None:
    lock = Counting(turn(8, 3))
    effort = Effort(labels=(1, 3, 100), searched=(3,), wrong_keys=5, epochs=7)
    seen: list[int] = []
    found = pick(lock, (X, Y), (X, Y), effort, matched=lock.right, advance=lambda: seen.append(1))
    assert lock.calls == [
        f"{name} {4 * count} 7" for count in (1, 3) for name in ("adapted", "loosened", "fresh")
    ]
    table = found.table()
    assert list(table) == [ADAPTER, TUNING, SCRATCH, SEARCH]
    assert list(table[SEARCH]) == [3]
    assert table[SCRATCH] == {1: 0.5, 3: 0.5}
    assert len(seen) == 1 + len(found.rows)
    assert (found.score, found.matched, found.size, found.wrong_keys) == (1.0, 1.0, 8, 5)
    assert found.displaced == {2: 0.75, 4: 0.5, 8: 0.0}
    assert found.wrong_mean <= found.wrong_most < 1
    assert pick(lock, (X, Y), (X, Y), effort, matched=lock.right) == found


def test_each_attack_alone_finds_what_it_finds_among_all() -> None:
    lock = Counting(turn(8, 3))
    effort = Effort(labels=(1, 3), searched=(1, 3), wrong_keys=5, epochs=7)
    whole = pick(lock, (X, Y), (X, Y), effort, matched=lock.right)
    rows: list[TheftRow] = []
    told = {WRONG_KEYS: "wrong_most", DISPLACED: "displaced", MATCHING: "matched"}
    for one in THEFT:
        alone = pick(lock, (X, Y), (X, Y), replace(effort, wanted=(one.name,)), matched=lock.right)
        for attack, field in told.items():
            expected = getattr(whole, field) if attack == one else {} if attack == DISPLACED else None
            assert getattr(alone, field) == expected
        assert alone.wrong_mean == (whole.wrong_mean if one == WRONG_KEYS else None)
        assert bool(alone.rows) == (one not in told)
        assert not any("0 labelled" in words for words in alone.words)
        rows += alone.rows
    assert sorted(map(str, rows)) == sorted(map(str, whole.rows))


def test_so_many_pictures_of_every_class_or_none() -> None:
    y = np.array([1, 0, 1, 1, 0, 2])
    x = np.arange(6)
    assert per_class(x, y, 1)[0].tolist() == [0, 1, 5]  # type: ignore[index]
    assert per_class(x, y, 2) is None
    assert per_class(x[:0], y[:0], 1) is None


def test_what_a_thief_needs_is_said_in_words() -> None:
    rows = tuple(
        TheftRow(attack=attack, labels=labels, score=score, asked=1)
        for attack, labels, score in (
            (ADAPTER, 1, 0.5),
            (TUNING, 5, 0.73),
            (SCRATCH, 1, 0.79),
            (ADAPTER, 10, 0.72),
        )
    )
    facts = {
        "size": 48,
        "no_key": 0.3,
        "wrong_mean": 0.2,
        "wrong_most": 0.4,
        "wrong_keys": 3,
        "displaced": {},
    }
    found = Theft(score=0.8, rows=rows, **facts)
    # From scratch is what needs no model, and so says nothing about the lock.
    assert [found.needed(share) for share in (0.5, 0.8, 0.9, 0.95)] == [1, 5, 5, None]
    assert found.words == (
        "A thief reaches 90% of the score with 5 labelled pictures per class.",
        "No attack with labelled pictures, training from scratch aside, reached 95% of it with 10 labelled "
        "pictures per class or fewer.",
    )
    assert found.model_copy(update={"matched": 0.8}).needed(0.95) == 0
    assert found.model_copy(update={"wrong_most": 0.8}).needed(0.95) is None  # luck is no knowledge
    # Shares are of what the key gives above guessing; where that is nothing, nothing is said.
    assert found.model_copy(update={"chance": 0.5}).needed(0.7) == 5
    for update in ({"chance": 0.8}, {"score": 0.0}):
        assert "no better than guessing" in found.model_copy(update=update).words[0]
    assert "public network" in found.model_copy(update={"public": 0.9}).words[-1]
    assert "needs no key" in found.model_copy(update={"no_key": 0.8}).words[0]


@pytest.mark.parametrize("arch", ["convmixer", "vit"])
def test_models_of_thieves_are_what_they_are_called(arch: str) -> None:
    sided = {"side": 8} if arch == "vit" else {}
    base = network(arch, 4, size=8, width=16, depth=1, **sided).eval()
    keyed = KeyedModel(base, [untrained_pair(base, KEYS[0])])
    lock, before = EmbeddingLock(keyed), keyed.weight_hash()
    right = keyed.predict(X)
    assert np.allclose(lock.opened(lock.right).predict(X), right, atol=1e-5)
    assert np.array_equal(lock.asked(lock.right).predict(X), lock.opened(lock.right).predict(X))
    bare = lock.loosened().predict(X)
    assert not np.allclose(bare, right, atol=1e-3)
    assert np.allclose(lock.adapted().predict(X), bare, atol=1e-5)
    assert not np.allclose(lock.fresh().predict(X), bare, atol=1e-3)
    assert lock.score(keyed, X, right.argmax(1)) == 1.0
    logits = torch.from_numpy(right)
    expected = -logits.log_softmax(1)[torch.arange(24), torch.from_numpy(Y)].mean()
    assert lock.loss(keyed, X, Y) == pytest.approx(float(expected), abs=1e-5)
    for start, moves in ((lock.adapted, 2), (lock.loosened, None), (lock.fresh, None)):
        model = start()
        old = copy.deepcopy(dict(model.named_parameters()))
        lock.trained(model, X, Y, 2)
        moved = [name for name, value in model.named_parameters() if not torch.equal(value, old[name])]
        assert len(moved) == (len(old) if moves is None else moves)
    # A permutation is a linear map: the layer in its place could be the key.
    adapted = lock.adapted()
    weight = adapted.net.body[0].weight
    n = lock.right[0].size
    flat = weight.data.permute(0, 2, 3, 1).reshape(n, n)
    weight.data = flat[lock.right[0].order].reshape(n, 4, 4, 3).permute(0, 3, 1, 2)
    assert np.allclose(adapted.predict(X), right, atol=1e-5)
    assert keyed.weight_hash() == before
    one = lock.adapted()
    assert lock.trained(one, X[:1], Y[:1], 2) is one  # one picture is no batch
