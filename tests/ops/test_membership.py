"""Membership scores against formulas written out in float64, at the edges of what they are given."""

from __future__ import annotations

import math
import zlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError, UsageError
from noli.ops import membership
from noli.ops.membership import (
    SCORES,
    STD_FLOOR,
    loss,
    lowercase_ratio,
    marked_only,
    min_k,
    min_k_plus_plus,
    moments,
    overlapping,
    score,
    token_scores,
    zlib_ratio,
)

LENGTHS = (1, 2, 3, 7, 64, 129)


def drawn(length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return (
        -generator.exponential(3, length),
        -generator.exponential(2, length),
        generator.uniform(0.1, 3, length),
    )


def slow_lowest(values: list[float], share: float) -> float:
    count = max(1, math.floor(Fraction(str(share)) * len(values)))
    return math.fsum(sorted(values)[:count]) / count


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("share", [0.001, 0.1, 0.2, 0.29, 0.3, 0.7, 1.0])
def test_all_scores_are_the_formulas_of_their_papers(length: int, share: float) -> None:
    logp, mean, std = drawn(length, length)
    text = b"some text " * length
    average = math.fsum(logp) / length
    plus = [(x - m) / s for x, m, s in zip(logp.tolist(), mean.tolist(), std.tolist(), strict=True)]
    wanted = {
        "loss": average,
        "zlib": average / len(zlib.compress(text)),
        "min-k": slow_lowest(logp.tolist(), share),
        "min-k++": slow_lowest(plus, share),
    }
    assert set(wanted) == set(SCORES)
    for name, value in wanted.items():
        found = score(name, logp, mean=mean, std=std, text=text, share=share)
        assert found == pytest.approx(value, rel=1e-5), name
    direct = loss(logp), zlib_ratio(logp, text), min_k(logp, share), min_k_plus_plus(logp, mean, std, share)
    assert direct == pytest.approx(tuple(wanted.values()))


@given(st.integers(1, 400), st.integers(1, 100))
@settings(max_examples=200, deadline=None)
def test_a_share_is_rounded_down_to_whole_tokens_but_one_is_left(length: int, percent: int) -> None:
    # The values tell how many of them were taken: the mean of the lowest n of 0, 1, 2, ... is (n - 1) / 2.
    taken = 2 * min_k(np.arange(length), percent / 100) + 1
    assert taken == pytest.approx(max(1, length * percent // 100))


def test_what_a_model_knows_scores_higher() -> None:
    logp, mean, std = drawn(50)
    text = b"a text that stays the same"
    for name in SCORES:
        known = score(name, logp / 2, mean=mean, std=std, text=text)
        assert known > score(name, logp, mean=mean, std=std, text=text), name
    assert lowercase_ratio(logp / 2, logp) == pytest.approx(2)
    assert lowercase_ratio(logp / 2, logp) > lowercase_ratio(logp, logp) == pytest.approx(1)
    assert lowercase_ratio(np.zeros(2), np.zeros(1)) == 0
    assert lowercase_ratio(np.zeros(2), np.array([-1.0])) > 1e9


def test_a_certain_model_has_a_score() -> None:
    found = min_k_plus_plus(np.array([0.0, -1.0]), np.zeros(2), np.zeros(2), 1.0)
    assert found == pytest.approx(-0.5 / STD_FLOOR)


@pytest.mark.parametrize("name", SCORES)
def test_no_tokens_have_no_score(name: str) -> None:
    nothing = np.zeros(0)
    with pytest.raises(DataError, match="at least one token"):
        score(name, nothing, mean=nothing, std=nothing, text=b"")
    for bad in (np.nan, -np.inf):
        with pytest.raises(DataError, match="finite"):
            score(name, np.array([-1.0, bad]), mean=np.zeros(2), std=np.ones(2), text=b"x")
    with pytest.raises(DataError, match="at least one token"):
        score(name, np.zeros((2, 2)), mean=np.zeros(2), std=np.ones(2), text=b"x")


def test_what_a_score_needs_and_what_does_not_exist() -> None:
    logp, mean, std = drawn(4)
    for name, given_ in (("zlib", {}), ("min-k++", {}), ("min-k++", {"mean": mean})):
        with pytest.raises(UsageError, match=r"needs") as caught:
            score(name, logp, **given_)
        assert "loss or min-k" in str(caught.value.fix)
    with pytest.raises(UsageError) as caught:
        score("max-k", logp)
    assert "min-k++" in str(caught.value.fix)
    for share in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="share"):
            min_k(logp, share)
    with pytest.raises(DataError, match="deviation"):
        min_k_plus_plus(logp, mean[:-1], std)


def slow_moments(row: list[float]) -> tuple[float, float]:
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row)) + top
    logs = [x - total for x in row]
    mean = math.fsum(math.exp(x) * x for x in logs if x > -700)
    return mean, math.sqrt(math.fsum(math.exp(x) * (x - mean) ** 2 for x in logs if x > -700))


@pytest.mark.parametrize("size", [(1, 2), (5, 2), (1, 1), (3, 257), (7, 1001)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("chunk", [1, 700, 2**20])
def test_moments(size: tuple[int, int], scale: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_CHUNK", chunk)
    generator = torch.Generator().manual_seed(size[1])
    logits = torch.randn(size, generator=generator) * scale + scale
    targets = torch.randint(size[1], size[:1], generator=generator)
    before = logits.clone()
    logp, mean, std = token_scores(logits, targets)
    rows = logits.double().tolist()
    wanted = torch.tensor([slow_moments(row) for row in rows])
    chosen = logits.double().log_softmax(1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(logp, chosen.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mean, wanted[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(std, wanted[:, 1], rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.stack(moments(logits)), torch.stack([mean, std]))
    assert torch.equal(logits, before)


def test_moments_of_ruled_out_tokens_half_floats_and_nothing() -> None:
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, -math.inf, -math.inf]])
    logp, mean, std = token_scores(logits, torch.tensor([0, 1]))
    assert logp.tolist() == [pytest.approx(-math.log(2)), -math.inf]
    torch.testing.assert_close(mean, torch.tensor([-math.log(2), 0.0]))
    torch.testing.assert_close(std, torch.zeros(2), atol=1e-6, rtol=0)
    half = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert torch.equal(torch.stack(moments(half)), torch.stack(moments(half.float())))
    assert moments(half)[0].dtype == torch.float32
    assert [len(part) for part in token_scores(torch.zeros(0, 5), torch.zeros(0).long())] == [0, 0, 0]


TOKENS = [(0, 3), (3, 7), (7, 7), (7, 8), (7, 8), (8, 12)]


@pytest.mark.parametrize(
    ("spans", "kept"),
    [
        ([], []),
        ([(0, 12)], [0, 1, 3, 4, 5]),
        ([(3, 7)], [1]),
        ([(2, 4)], [0, 1]),
        ([(7, 8)], [3, 4]),
        ([(5, 5)], []),
        ([(11, 40), (0, 1)], [0, 5]),
        ([(12, 13)], []),
    ],
)
def test_tokens_that_share_a_character_with_a_span(spans: list[tuple[int, int]], kept: list[int]) -> None:
    assert np.flatnonzero(overlapping(TOKENS, spans)).tolist() == kept
    logp = -np.arange(6.0)
    assert marked_only(logp, spans, TOKENS).tolist() == [-place for place in kept]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_overlapping_counts_characters(tokens: list[tuple[int, int]], spans: list[tuple[int, int]]) -> None:
    marked = {place for begin, end in spans for place in range(begin, end)}
    wanted = [bool(marked & set(range(begin, end))) for begin, end in tokens]
    assert overlapping(tokens, spans).tolist() == wanted


def test_every_token_needs_a_span() -> None:
    with pytest.raises(DataError, match="span"):
        marked_only(np.zeros(3), [(0, 1)], TOKENS)
    assert overlapping([], [(0, 1)]).shape == (0,)
