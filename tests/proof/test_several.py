"""Several bundles: what is counted, who survives, and how often an innocent is accused, by enumeration."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations, product
from math import prod

import pytest
from story import WORD, honest, story, thief

from noli.core.errors import UsageError
from noli.ops.multiplicity import holm
from noli.proof import ledger
from noli.proof.check import Checked, check
from noli.proof.records import sha256
from noli.proof.several import together
from noli.proof.trust import Trust
from noli.testing import KEYS

TRUST = Trust(believe=WORD | {"clock"})
TAMPERED = Checked("tampered", ("Damaged.",))
ALPHA = 0.05


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    told = story(tmp_path_factory.mktemp("real"))
    return check(told.bundle(thief(told)), TRUST)


def name_of(owner, i):
    return sha256(f"{owner}/{i}".encode())


@pytest.fixture(scope="module")
def family(real):
    """Makes the answers about all tests of one owner, each with the whole ledger, from their p-values."""

    def make(owner, p_values, e_values=None, **changes):
        looks = {"looks": "fixed" if e_values is None else "sequential"}
        protocol = real.commitment.protocol.model_copy(update={"alpha": ALPHA, **looks, **changes})
        commitment = real.commitment.model_copy(update={"owner": owner * 64, "protocol": protocol})
        digest, e_values = protocol.digest, e_values or [None] * len(p_values)
        fields = {"family": protocol.family, "protocol": digest}
        spent = tuple(
            ledger.Spent.model_construct(**fields, transcript=name_of(owner + protocol.family, i), p=p, e=e)
            for i, (p, e) in enumerate(zip(p_values, e_values, strict=True))
        )
        found = []
        for one in spent:
            verdict = ledger.judge(protocol, spent, one.transcript)
            outcome = real.claim.outcome.model_copy(update={"p": one.p, "e": one.e})
            news = {"outcome": outcome, "verdict": verdict, "transcript": one.transcript}
            claim = real.claim.model_copy(update=news)
            status = "valid" if verdict.supported else "not significant"
            found.append(Checked(status, claim=claim, commitment=commitment, spent=spent))
        return found

    return make


def called(checked):
    return [(f"{i}.zip", one) for i, one in enumerate(checked)]


def figures(checked, alpha=None):
    found = together(called(checked), alpha)
    return found.tests, [one.p for one in found.bundles], [one.survives for one in found.bundles]


def subsets(items):
    return chain.from_iterable(combinations(items, size) for size in range(1, len(items) + 1))


def test_one_bundle_is_worth_what_its_own_verdict_says(family):
    (one,) = family("a", [0.001], tests=7)
    assert figures([one]) == (7, [0.007], [True])
    first = family("a", [0.004, 0.9, 0.9])[0]
    assert figures([first]) == (3, [pytest.approx(0.012)], [True])


def test_one_family_is_paid_for_once(family):
    every = family("a", [0.001, 0.02, 0.5], tests=3)
    tests, p, survives = figures(every)
    assert (tests, survives) == (3, [True, False, False])
    assert p == [one.claim.verdict.p for one in every]
    # Where none of the further ones was planned, each pays by its place, and Holm counts all of them.
    assert figures(family("a", [0.001, 0.02, 0.5])) == (3, [0.003, 0.04, 1.0], [True, True, False])


def test_separate_ledgers_of_one_owner_are_joined(family):
    """Who enters every test in a ledger of its own pays for all of them here."""
    alone = []
    for i, one in enumerate(family("a", [0.02, 0.03, 0.04])):
        verdict = ledger.judge(one.commitment.protocol, one.spent[i : i + 1], one.claim.transcript)
        claim = one.claim.model_copy(update={"verdict": verdict})
        alone.append(replace(one, status="valid", claim=claim, spent=one.spent[i : i + 1]))
    assert all(one.claim.verdict.supported for one in alone)
    assert figures(alone)[::2] == (3, [False] * 3)


def test_owners_step_down_by_holm_and_families_have_owners(family):
    checked = [*family("a", [0.02]), *family("b", [0.01]), *family("c", [0.9])]
    tests, p, survives = figures(checked)
    assert (tests, survives) == (3, [True, True, False])
    assert p == pytest.approx(holm([0.02, 0.01, 0.9]).tolist())
    shared = [replace(one, spent=checked[0].spent + checked[1].spent) for one in checked[:2]]
    assert figures(shared)[0] == 2
    planned = [*family("a", [0.01, 0.5], tests=3)[:1], *family("b", [0.01], tests=4)]
    assert figures(planned)[0] == 7
    assert figures([*planned, *family("a", [0.9] * 3, family="other")])[0] == 10


def test_the_smallest_alpha_counts_and_none_makes_a_claim_valid(family):
    checked = [*family("a", [0.002], alpha=0.001), *family("b", [0.0001])]
    found = together(called(checked))
    assert (found.alpha, found.survivors, found.exit_code) == (0.001, ("1.zip",), 10)
    assert together(called(checked), 0.05).survivors == ("1.zip",)
    assert together(called(checked), 1e-5).survivors == ()


def test_companions_never_make_a_claim_look_better(family):
    """An owner may have made them up, within the plan of his family or under other keys."""
    own = family("a", [0.004, 1e-9, 1e-9], tests=3)
    others = [family(owner, [1e-9])[0] for owner in "bcde"]
    for companions in (own[1:], others, [*own[1:], *others]):
        assert figures([own[0], *companions])[1][0] == own[0].claim.verdict.p
    others = family("f", [1e-9] * 4, [1e9] * 4)
    for e, enough in ((20.0, True), (19.9, False)):
        mine = family("a", [1 / 20], [e])
        assert [one.e_bh for one in together(called(mine)).bundles] == [enough]
        assert together(called([*others, *mine])).bundles[-1].e_bh is enough


def test_what_is_untimely_or_tampered_has_no_figure(family):
    late = replace(family("b", [1e-9], [1e9])[0], status="untimely")
    good = family("a", [0.03], [33.0])
    assert figures([*good, late]) == (2, [pytest.approx(0.06), None], [False, False])
    assert [one.e_bh for one in together(called([*good, late])).bundles] == [False, None]
    assert together(called([*good, late])).exit_code == 4
    assert figures([*good, TAMPERED]) == (1, [0.03, None], [True, False])
    assert together(called([late, *good, TAMPERED])).exit_code == 3
    nothing = together(called([TAMPERED, TAMPERED]))
    assert (nothing.exit_code, nothing.alpha, nothing.tests, nothing.owners) == (3, None, 0, ())
    assert nothing.as_dict()["bundles"][1]["p_among_tests"] is None


def test_e_values_are_named_where_there_are_some(family):
    checked = [*family("a", [0.01], [100.0]), *family("b", [0.025], [40.0]), *family("c", [1e-6])]
    found = together(called(checked))
    # The third test counts, without evidence: 100 >= 3 / 0.05, and 40 >= 3 / (2 * 0.05).
    assert [one.e_bh for one in found.bundles] == [True, True, None]
    assert (found.exit_code, found.survivors) == (0, ("0.zip", "1.zip", "2.zip"))
    assert found.as_dict()["survivors"] == ["0.zip", "1.zip", "2.zip"]


def test_usage(family):
    good = family("a", [0.01, 0.02])
    with pytest.raises(UsageError, match="no bundle"):
        together([])
    with pytest.raises(UsageError, match=r"twice.*0\.zip and 2\.zip"):
        together(called([*good, good[0]]))
    for alpha in (0.0, 0.051, float("nan")):
        with pytest.raises(UsageError, match="no alpha"):
            together(called(good), alpha)


def rate(family, laws, shape, coupled):
    """Probability that a false claim survives, if of every family the worst part is handed in.

    Args:
        laws: Of all tests: the p-values that each may have; None: it is right, and its p is tiny.
        shape: How many of the tests every owner has.
        coupled: The joint law: probability and one number per test.
    """
    owners, starts = "abcdef"[: len(shape)], [sum(shape[:i]) for i in range(len(shape))]
    accused = 0.0
    for weight, places in coupled:
        p = [1e-9 if law is None else law[place] for law, place in zip(laws, places, strict=True)]
        made = [family(o, p[s : s + n], tests=n) for o, s, n in zip(owners, starts, shape, strict=True)]
        guilty = {name_of(o, i) for o, s, n in zip(owners, starts, shape, strict=True)
                  for i in range(n) if laws[s + i] is None}  # fmt: skip
        accused += weight * any(
            one.survives and one.checked.claim.transcript not in guilty
            for parts in product(*(list(subsets(every)) for every in made))
            for one in together(called(chain(*parts)), ALPHA).bundles
        )
    return accused


def disjoint(tests, size=120):
    """Uniform p-values that are never small together, the worst case for Holm."""
    step = size // tests
    return [(1 / size, [(u + i * step) % size for i in range(tests)]) for u in range(size)]


UNIFORM = [(i + 1) / 120 for i in range(120)]


def test_innocents_are_accused_as_rarely_as_promised_however_the_tests_depend(family):
    """The owner hands in any of his five tests that he likes, another his only one."""
    accused = rate(family, [UNIFORM] * 6, [5, 1], disjoint(6))
    assert accused == pytest.approx(ALPHA)
    # Holm over the best of each owner alone would not hold.
    best = [holm([min(UNIFORM[i] for i in at[:5]), UNIFORM[at[5]]]).min() <= ALPHA for _, at in disjoint(6)]
    assert sum(best) / 120 > 2 * ALPHA


@pytest.mark.parametrize("guilty", [(), (0,), (0, 3)])
@pytest.mark.parametrize("shape", [[1, 1, 1, 1], [2, 1, 1], [2, 2]])
def test_innocents_beside_the_guilty(family, shape, guilty):
    """Independent tests, with few p-values that are just as likely as they may be."""
    atoms = {0.01: 0.01, 0.02: 0.01, 0.05: 0.03, 1.0: 0.95}
    laws = [None if i in guilty else list(atoms) for i in range(4)]
    chance = list(atoms.values())
    joint = product(*([0] if law is None else range(4) for law in laws))
    free = [i for i in range(4) if i not in guilty]
    coupled = [(prod(chance[at[i]] for i in free), at) for at in joint]
    assert sum(weight for weight, _ in coupled) == pytest.approx(1.0)
    assert 0 < rate(family, laws, shape, coupled) <= ALPHA


@pytest.mark.parametrize("together_at", [20.0, 60.0])
def test_false_discoveries_of_e_bh(family, together_at):
    """E-values of 20 that all come at once, or of 60 that come one at a time: both just reach alpha."""
    size = int(together_at)
    found = 0
    for u in range(size):
        shift = 0 if together_at == 20 else size // 3
        e = [together_at * ((u + i * shift) % size == 0) for i in range(3)]
        made = [family(o, [min(1.0, 1 / x) if x else 1.0], [x])[0] for o, x in zip("abc", e, strict=True)]
        found += any(one.e_bh for one in together(called(made)).bundles)
    assert found / size == pytest.approx(ALPHA)


def test_bundles_themselves(tmp_path):
    told = [story(tmp_path, key) for key in KEYS[:2]]
    bundles = [told[0].bundle(thief(told[0])), told[1].bundle(honest)]
    checked = [check(data, TRUST) for data in bundles]
    found = together(called(checked))
    # The ledger of the first bundle was shorter; that of the second lists both.
    assert (found.tests, found.survivors, found.exit_code) == (2, ("0.zip",), 10)
    assert found.bundles[0].p == pytest.approx(2 * checked[0].claim.outcome.p)
    assert len(found.owners) == 2
