"""Kinds of assignment: uniform draws, exact laws against enumeration, nothing gained by losing answers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare
from story import CLASSES, protocol

from noli.core.key import Key
from noli.proof.kinds import KINDS, Seen, kind
from noli.proof.records import Damaged
from noli.testing import KEYS

SETTINGS = {
    "labels": {"classes": CLASSES[:4], "k": 1},
    "choices": {"options": 4},
    "texts": {"variants": 4},
    "bits": {"bits": 4, "pictures": 2},
    "decoys": {"triggers": 4},
}


def made(test: str, **changes):
    parameters = {**SETTINGS[test], **changes.pop("parameters", {})}
    changes = {"budget": 1, **changes} if test == "decoys" else changes
    return kind(protocol(test=test, parameters=parameters, **changes))


def seen(*answers):
    return Seen(tuple(answers))


def secret(i: int) -> Key:
    return Key.from_bytes(KEYS[0].subkey(f"test/{i}"))


def test_every_kind_is_tested_here():
    assert set(SETTINGS) == set(KINDS)


@pytest.mark.parametrize("test", SETTINGS)
def test_draws_are_uniform_and_follow_from_secret_and_beacon(test):
    one = made(test)
    draws = [one.draw(secret(i), "") for i in range(800)]
    assert draws == [one.draw(secret(i), "") for i in range(800)]
    assert draws != [one.draw(secret(i), "ab" * 32) for i in range(800)]
    values = np.array(draws).reshape(-1)
    counts = np.bincount(values, minlength=2 if test == "bits" else 4)
    assert chisquare(counts).pvalue > 1e-4
    assert len(draws[0]) == (4 if test == "bits" else 1)


def enumerated(one, answers, assignments):
    """Share of all assignments whose p-value is at most each level: must not exceed the level."""
    return np.array([one.outcome(list(drawn), answers).p for drawn in assignments])


@pytest.mark.parametrize("looks", ["fixed", "sequential"])
@pytest.mark.parametrize(
    ("test", "answers"),
    [
        ("labels", [seen(("a",)), seen(("a", "b")), seen(("z",)), seen(None), seen(("d", "d"))]),
        ("choices", [seen((0,)), seen((3,)), seen(None), seen((1.0,)), seen(("2",))]),
        ("texts", [seen((0.1,), (0.4,), (0.2,), (0.4,)), seen((1.0,), (1.0,), (1.0,), (1.0,)),
                   seen((3.0,), (-1.0,), (0.0,), (5.0,)), seen((3.0,), None, (0.0,), (5.0,))]),
    ],
)  # fmt: skip
def test_no_answers_make_an_accusation_too_likely(test, answers, looks):
    """Over every assignment that the secrets could have given, P[p <= level] <= level."""
    one = made(test, looks=looks, alpha=0.05, futile=0.0)
    found = enumerated(one, answers, product(*([(i,) for i in range(4)] for _ in answers)))
    assert found.min() < 1
    for level in np.unique(found):
        assert (found <= level + 1e-12).mean() <= level + 1e-9


def test_a_message_and_its_votes():
    one = made("bits", parameters={"bits": 6})
    answers = [seen((1, -1, 2, 0.5, 0, -3), (1, 1, 1, -1, 0, -1))]
    found = enumerated(one, answers, ([bits] for bits in product((0, 1), repeat=6)))
    for level in np.unique(found):
        assert (found <= level + 1e-12).mean() <= level + 1e-9
    assert found.min() == pytest.approx(4 / 64)  # two of the bits got no vote


def test_lost_pictures_are_paid_for_by_every_way_of_choosing_them():
    one = made("bits", parameters={"bits": 12, "pictures": 5})
    votes = (1.0,) * 12
    whole = one.outcome([(1,) * 12], [seen(votes, votes, votes, votes, votes)])
    lost = one.outcome([(1,) * 12], [seen(votes, votes, votes, None, None)])
    assert whole.p == 2.0**-12
    assert lost.p == pytest.approx(math.comb(5, 2) * 2.0**-12)
    assert lost.refused == 2
    assert one.outcome([(1,) * 12], [seen(None, None, None, None, None)]).p == 1.0


def test_the_true_trigger_among_decoys():
    one = made("decoys")
    assert one.outcome([(2,)], [seen((0.1,), (0.2,), (0.9,), (0.3,))]).p == 1 / 4
    assert one.outcome([(2,)], [seen((0.1,), (0.9,), (0.9,), (0.3,))]).p == 2 / 4
    assert one.outcome([(2,)], [seen((0.1,), None, (0.9,), (0.3,))]).p == 2 / 4
    assert one.outcome([(2,)], [seen((0.1,), (0.2,), None, (0.3,))]).p == 1.0


def test_lists_are_cut_to_what_was_registered():
    """Whoever could record a longer list, or call its misses lost, would choose what suits him."""
    one = made("labels")
    assert one.outcome([(1,)], [seen(("a", "b"))]).value == 0
    assert one.outcome([(0,)], [seen(("a", "b"))]).expected == 0.25
    three = made("labels", parameters={"k": 3}, looks="sequential", futile=0.0)
    lost = three.outcome([(0,)], [seen(None)])
    for names in ("b", "bc", "bcd"):
        assert lost.e <= three.outcome([(0,)], [seen(tuple(names))]).e + 1e-12


def test_a_lost_document_is_less_evidence_than_any_scores():
    draw = np.random.default_rng(0)
    for variants in (2, 4, 9):
        one = made("texts", parameters={"variants": variants}, looks="sequential", futile=0.0)
        lost = one.outcome([(0,)], [seen(*[None] * variants)])
        for _ in range(200):
            row = [(float(v),) for v in draw.standard_t(2, variants)]
            row[0] = (min(v for (v,) in row) - float(draw.exponential()),)
            assert lost.e <= one.outcome([(0,)], [seen(*row)]).e


def test_lists_that_cover_more_classes_hit_more_easily():
    one = made("labels", parameters={"k": 4})
    covered = one.outcome([(0,), (1,)], [seen(("a", "b")), seen(("a", "b", "c", "d"))])
    assert (covered.value, covered.expected) == (2.0, 1.5)
    assert covered.p == pytest.approx(0.5)
    assert made("labels", parameters={"k": 9}).outcome([(0,)], [seen(None)]).expected == 1.0


def test_losing_an_answer_is_never_better_than_missing():
    for looks in ("fixed", "sequential"):
        for test, miss in (("labels", ("b",)), ("choices", (1,)), ("texts", None)):
            one = made(test, looks=looks)
            if test == "texts":
                worst = seen((0.0,), (1.0,), (1.0,), (1.0,))
                given = one.outcome([(0,)], [worst])
                lost = one.outcome([(0,)], [seen((9.0,), None, (1.0,), (1.0,))])
            else:
                given, lost = one.outcome([(0,)], [seen(miss)]), one.outcome([(0,)], [seen(None)])
            assert lost.p >= given.p
            assert (lost.e or 0) <= (given.e or 0) + 1e-12
            assert lost.refused == 1


@pytest.mark.parametrize("test", SETTINGS)
@pytest.mark.parametrize("looks", ["fixed", "sequential"])
def test_no_answers_say_more_than_the_ideal_ones(test, looks):
    if looks == "sequential" and test in ("bits", "decoys"):
        pytest.skip("looked at once")
    one, number = made(test, looks=looks, alpha=1e-9), 1 if test in ("bits", "decoys") else 12
    drawn = [one.draw(secret(i), "") for i in range(number)]
    best = one.outcome(drawn, [one.ideal(each) for each in drawn])
    others = [next(d for k in range(50, 99) if (d := one.draw(secret(k), "")) != each) for each in drawn]
    wrong = one.outcome(drawn, [one.ideal(each) for each in others])
    assert best.p < wrong.p
    if looks == "fixed":
        assert best.p == pytest.approx(4.0**-number if test != "bits" else 2.0**-4)
    generator = np.random.default_rng(3)
    for _ in range(200):
        others = []
        for each in drawn:
            parts = len(one.ideal(each).answers)
            if test == "labels":
                others.append(
                    seen(*[tuple(generator.permutation(CLASSES[:4])[: generator.integers(1, 4)])] * parts)
                )
            elif test == "choices":
                others.append(seen((float(generator.integers(4)),)))
            else:
                width = 4 if test == "bits" else 1
                others.append(seen(*map(tuple, generator.normal(size=(parts, width)))))
        assert one.outcome(drawn, others).p >= best.p * (1 - 1e-9)


@pytest.mark.parametrize("test", ["labels", "choices", "texts"])
def test_nothing_asked_is_no_evidence(test):
    for looks in ("fixed", "sequential"):
        assert made(test, looks=looks).outcome([], []).p == 1.0


@pytest.mark.parametrize(
    ("test", "parameters"),
    [("labels", {"classes": ["a"]}), ("labels", {"classes": ["a", "a", "b"]}), ("labels", {"k": 0}),
     ("choices", {"options": 1}),
     ("texts", {"variants": 1}), ("bits", {"bits": 0}), ("decoys", {"triggers": 1}),
     ("choices", {"colour": 3})],
)  # fmt: skip
def test_parameters_that_make_no_test(test, parameters):
    with pytest.raises(Damaged, match="the protocol's parameters"):
        made(test, parameters=parameters)


@pytest.mark.parametrize(
    ("test", "answers"),
    [
        ("choices", [seen(("abc",))]),
        ("choices", [seen(())]),
        ("texts", [seen(("x",), (1.0,), (1.0,), (1.0,))]),
        ("texts", [seen((), (1.0,), (1.0,), (1.0,))]),
        ("texts", [seen((float("inf"),), (1.0,), (1.0,), (1.0,))]),
        ("bits", [seen(("a", "b", "c", "d"), (0, 1, 0, 1))]),
        ("decoys", [seen((1.0,), (2.0,), ("high",), (0.0,))]),
    ],
)
def test_answers_of_the_wrong_kind_are_damage(test, answers):
    with pytest.raises(Damaged):
        made(test).outcome([(0,) * (4 if test == "bits" else 1)], answers)


def test_the_classes_that_most_queries_name_count():
    one = made("labels", parameters={"queries": 3})
    votes = seen(("a",), ("b",), ("b",))
    assert one.outcome([(1,)], [votes]).value == 1
    assert one.outcome([(0,)], [votes]).value == 0
    tied = seen(("b",), ("a",), ("z",))
    assert one.outcome([(0,)], [tied]).value == 1
    lost = one.outcome([(1,)], [seen(("b",), None, ("b",))])
    assert (lost.value, lost.expected, lost.refused) == (0, 0.25, 1)
    assert one.queries == 3


def test_pictures_that_were_decoded_to_too_few_bits():
    with pytest.raises(Damaged, match="not decoded to 4"):
        made("bits").outcome([(0, 1, 0, 1)], [seen((1.0, 1.0), None)])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"budget": 41}, "exceeds"),
        ({"alpha": 0.2}, "alpha"),
        ({"test": "bits", "looks": "sequential"}, "cannot be multiplied"),
        ({"test": "decoys", "parameters": {"triggers": 4}}, "budget=1"),
        ({"correction": "e-bh"}, "e-bh needs"),
        ({"colour": 1}, "Extra inputs"),
    ],
)
def test_protocols_that_promise_too_much(changes, match):
    with pytest.raises(ValueError, match=match):
        protocol(**changes)
