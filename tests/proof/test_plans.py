"""Plans keep what they promise in the test itself, and say why something cannot be reached."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import noli
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.proof import power
from noli.proof.kinds import Seen, kind
from noli.proof.protocol import Protocol
from noli.testing import KEYS


def planned(test: str, **options: Any) -> Any:
    return noli.plan_mark(test, **options)


def protocol(test: str, budget: int, **parameters: Any) -> Protocol:
    words = {"claim": "c", "null": "n"}
    return Protocol(
        **words, test=test, parameters=parameters, alpha=1e-3, secrets=budget, budget=budget
    )  # fmt: skip


def found(made: Protocol, model: Any, runs: int = 300) -> float:
    """Return how often a model is found in the real test."""
    test, draw = kind(made), np.random.default_rng(0)
    count = 0
    for run in range(runs):
        secrets = [Key.from_bytes(KEYS[0].subkey(f"{run}/{i}")) for i in range(made.budget)]
        drawn = [test.draw(secret, "") for secret in secrets]
        count += test.outcome(drawn, [Seen(model(one, draw)) for one in drawn]).p <= made.alpha
    return count / runs


def test_labels_keep_their_power_in_the_real_test():
    plan = planned("labels", classes=5, hit_rate=0.6, alpha=1e-3)
    names = tuple("abcde")

    def model(drawn, draw):
        (number,) = drawn
        other = (number + 1 + draw.integers(4)) % 5
        return ((names[number] if draw.random() < 0.6 else names[other],),)

    share = found(protocol("labels", plan.needed, classes=names), model)
    assert share == pytest.approx(plan.power, abs=0.06)


def test_choices_with_the_limit_on_the_edge():
    plan = planned("choices", options=4, hit_rate=0.7, alpha=1e-3)
    assert plan.reachable
    assert planned("choices", options=4, hit_rate=0.7, alpha=1e-3, budget=plan.needed).needed == plan.needed
    less = planned("choices", options=4, hit_rate=0.7, alpha=1e-3, budget=plan.needed - 1)
    assert (less.reachable, less.needed) == (False, None)
    assert f"With {plan.needed - 1} questions the power is 0." in less.reason


def test_texts_keep_their_power_in_the_real_test():
    plan = planned("texts", variants=4, effect=1.0, alpha=1e-3)

    def model(drawn, draw):
        scores = draw.standard_normal(4)
        scores[drawn[0]] += 1.0
        return tuple((float(score),) for score in scores)

    share = found(protocol("texts", plan.needed, variants=4), model)
    assert share == pytest.approx(plan.power, abs=0.06)
    by_ranks = planned("texts", variants=4, ranks=tuple(power.rank_law(3, 1.0)), alpha=1e-3)
    assert by_ranks.needed == plan.needed


def test_bits_keep_their_power_in_the_real_test():
    plan = planned("bits", bits=16, accuracy=0.75, alpha=1e-3)
    assert plan.needed > 1
    assert plan.error > 0

    def model(drawn, draw):
        signs = 2.0 * np.array(drawn) - 1
        wrong = draw.random((plan.needed, 16)) >= 0.75
        return tuple(tuple(map(float, np.where(row, -signs, signs))) for row in wrong)

    made = protocol("bits", 1, bits=16, pictures=plan.needed)
    assert found(made, model) == pytest.approx(plan.power, abs=0.06)


def test_decoys_keep_their_power_in_the_real_test():
    plan = planned("decoys", effect=3.0, alpha=0.05)

    def model(drawn, draw):
        scores = draw.standard_normal(plan.needed)
        scores[drawn[0]] += 3.0
        return tuple((float(score),) for score in scores)

    made = protocol("decoys", 1, triggers=plan.needed).model_copy(update={"alpha": 0.05})
    assert found(made, model) == pytest.approx(plan.power, abs=0.06)


def test_a_sequence_keeps_its_power():
    plan = planned("labels", classes=10, hit_rate=0.5, looks="sequential")
    assert plan.figures["median"] <= 29
    assert plan.figures["median"] < plan.figures["quantile_90"] <= plan.needed
    assert 0.9 <= plan.power < 0.95
    assert plan.figures["share"] == 1.0
    again = planned("labels", classes=10, hit_rate=0.5, looks="sequential")
    assert again == plan
    short = planned("labels", classes=10, hit_rate=0.5, looks="sequential", budget=20)
    assert not short.reachable
    assert (short.figures["median"], short.figures["share"]) == (None, short.power)
    assert short.reason.endswith("A test that is looked at once may need fewer.")


@pytest.mark.parametrize(
    ("kind_", "given"),
    [
        ("labels", {"classes": 10, "hit_rate": 0.5, "looks": "sequential"}),
        ("bits", {"bits": 16, "accuracy": 0.7, "alpha": 1e-3}),
    ],
)
@pytest.mark.parametrize("wanted", [0.6, 0.8, 0.9, 0.95])
def test_a_simulated_power_is_enough_by_its_lower_end(kind_: str, given: dict[str, Any], wanted: float):
    """Chosen by the simulated share itself, half of all plans would have less than was promised."""
    from scipy.stats import binomtest

    plan = planned(kind_, power=wanted, **given)
    seen = binomtest(round(plan.power * power.RUNS), power.RUNS, wanted)
    low = seen.proportion_ci(0.9, "exact").low
    assert (plan.error > 0, low >= wanted) == (True, True)
    less = planned(kind_, power=wanted, budget=plan.needed - 1, **given)
    assert not less.reachable
    found = binomtest(round(less.power * power.RUNS), power.RUNS, wanted).proportion_ci(0.9, "exact").low
    assert found < wanted
    assert f"the power is {found:.3g}, and {wanted:g} is wanted" in less.reason


def test_runs_that_assure_a_power():
    for wanted in (0.5, 0.9, 0.998):
        runs = power.runs_for(wanted)
        assert power.assured(runs / power.RUNS) >= wanted > power.assured((runs - 1) / power.RUNS)
    # No number of runs assures more than all of them.
    assert power.runs_for(0.9999) == power.RUNS
    assert (power.assured(0.0), power.assured(1.0)) == (0.0, 1.0)


def test_a_pilot_is_planned_with_its_lower_end():
    plan = planned("labels", classes=10, pilot="12/30")
    assert plan.given["hit_rate"] == pytest.approx(power.pilot_bound(12, 30))
    assert plan.needed > planned("labels", classes=10, hit_rate=12 / 30).needed
    assert "lower end of the pilot's 90 % interval" in plan.notes[0]
    assert planned("labels", classes=10, pilot=(12, 30)) == plan
    assert planned("bits", bits=48, pilot="170/192").given["accuracy"] < 170 / 192
    assert not planned("decoys", pilot="9/10", alpha=0.01).reachable


def test_more_tests_share_alpha():
    shared = planned("labels", classes=10, hit_rate=0.4, tests=20)
    assert shared.critical > planned("labels", classes=10, hit_rate=0.4).critical
    assert shared.needed == planned("labels", classes=10, hit_rate=0.4, alpha=1e-6 / 20).needed


@pytest.mark.parametrize(
    ("test", "options", "reason"),
    [
        ("labels", {"classes": 10, "hit_rate": 0.1}, "A hit rate of 0.1 is not above chance, which is 0.1."),
        ("labels", {"classes": 10, "k": 12, "hit_rate": 1.0}, "not above chance, which is 1."),
        ("labels", {"classes": 10, "pilot": "0/30"}, "A hit rate of 0 is not above chance"),
        ("labels", {"classes": 10, "hit_rate": 0.1, "looks": "sequential"}, "not above chance, which is"),
        (
            "labels",
            {"classes": 2, "hit_rate": 1.0, "budget": 10},
            "Even 10 keys, all of them hits, have a p-value of 0.00098, and at most 1e-06 is evidence: "
            "it takes at least 20 keys.",
        ),
        ("labels", {"classes": 10, "hit_rate": 0.101}, "With 100,000 keys the power is 0."),
        ("choices", {"hit_rate": 0.5}, "A hit rate of 0.5 is not above chance, which is 0.5."),
        ("texts", {"variants": 4, "effect": 0.0}, "The mean rank, 1.5, is not below that by chance, 1.5."),
        ("texts", {"variants": 4, "ranks": (1, 2, 3, 4)}, "is not below that by chance"),
        ("texts", {"variants": 4, "effect": 1, "budget": 5}, "it takes at least 10 documents."),
        ("texts", {"variants": 4, "effect": 0.5, "budget": 20}, "With 20 documents the power is 0."),
        ("bits", {"bits": 19, "accuracy": 1.0}, "Even 19 bits, all of them right"),
        ("bits", {"bits": 48, "accuracy": 0.5}, "A bit accuracy of 0.5 is not above chance, which is 0.5."),
        ("bits", {"bits": 32, "accuracy": 0.6, "budget": 2}, "With 2 pictures the power is"),
        ("decoys", {"hit_rate": 1.0, "alpha": 1e-6}, "it takes 1,000,000 triggers."),
        ("decoys", {"hit_rate": 1.0, "alpha": 0.01, "budget": 99}, "it takes 100 triggers."),
        ("decoys", {"hit_rate": 0.8, "alpha": 0.01}, "highest with probability 0.8, and 0.9 is wanted."),
        ("decoys", {"effect": 1.0, "alpha": 0.01}, "With 100,000 triggers the power is 0."),
    ],
)  # fmt: skip
def test_what_cannot_be_reached_says_why(test, options, reason):
    plan = planned(test, **options)
    assert not plan.reachable
    assert plan.needed is None
    assert reason in plan.reason
    assert plan.power < 0.9


@pytest.mark.parametrize(("alpha", "triggers"), [(0.05, 20), (0.01, 100), (0.03, 34), (1e-4, 10_000)])
def test_the_smallest_p_value_of_decoys(alpha, triggers):
    plan = planned("decoys", hit_rate=1.0, alpha=alpha)
    assert (plan.needed, plan.critical, plan.smallest_p) == (triggers, 1, 1 / triggers)
    assert not planned("decoys", hit_rate=1.0, alpha=alpha, budget=triggers - 1).reachable


def test_twenty_bits_are_enough_if_all_are_right():
    plan = planned("bits", bits=20, accuracy=1.0)
    assert (plan.needed, plan.critical, plan.error) == (1, 20, 0.0)
    assert plan.smallest_p == 2.0**-20


def test_a_message_judged_by_a_bound_says_so(monkeypatch):
    monkeypatch.setattr(power, "MANY_VOTES", 40)
    assert "at least this" in planned("bits", bits=32, accuracy=0.8).notes[-1]


@pytest.mark.parametrize(
    ("test", "options", "says"),
    [
        ("lables", {}, "did you mean labels?"),
        ("labels", {"classes": 10, "hitrate": 0.4}, "did you mean hit_rate?"),
        ("labels", {"classes": 1, "hit_rate": 0.4}, "greater than or equal to 2"),
        ("labels", {"hit_rate": 0.4}, "classes"),
        ("labels", {"classes": 10}, "give either hit_rate or pilot"),
        ("labels", {"classes": 10, "hit_rate": 0.4, "pilot": "1/2"}, "and not both"),
        ("labels", {"classes": 10, "pilot": "5/4"}, "for example 12/30"),
        ("labels", {"classes": 10, "pilot": "0/0"}, "for example 12/30"),
        ("labels", {"classes": 10, "pilot": "1/2/3"}, "pilot"),
        ("labels", {"classes": 10, "hit_rate": 0.4, "alpha": 0.5}, "less than or equal to 0.05"),
        ("texts", {"variants": 4}, "give either effect or ranks"),
        ("texts", {"variants": 4, "ranks": (1, 2)}, "give 4 numbers"),
        ("texts", {"variants": 2, "ranks": (0, 0)}, "give 2 numbers"),
        ("bits", {"bits": 48}, "give either accuracy or pilot"),
        ("decoys", {"effect": 2, "hit_rate": 0.9}, "give either hit_rate or effect"),
        ("decoys", {}, "give either hit_rate or pilot"),
    ],
)
def test_what_cannot_be_planned(test, options, says):
    with pytest.raises(UsageError) as caught:
        planned(test, **options)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("test", "options"),
    [
        ("labels", {"classes": 1000, "k": 10, "hit_rate": 1e-2 + 1e-3}),
        ("labels", {"classes": 10, "hit_rate": 0.5, "looks": "sequential", "budget": 5}),
        ("texts", {"variants": 3, "ranks": "5,2,1"}),
        ("bits", {"bits": 32, "accuracy": 0.9}),
        ("decoys", {"effect": 9, "alpha": 0.02}),
    ],
)
def test_a_plan_is_a_document(test, options):
    plan = planned(test, **options)
    document = json.loads(json.dumps(plan.as_dict(), allow_nan=False))
    assert document["reachable"] is plan.reachable
    assert document["goal"]["power"] == 0.9
    assert document["smallest_p"] > 0
