"""Several bundles at once: which of their claims hold together.

What is combined are the p-values of the tests themselves (``outcome.p``), by Holm, over all tests of the
families that were handed in: every test that one of their ledgers lists, once, and those that were planned
and not made. The verdict's p-value is that p-value times what its test has to pay in its own family; to put
Holm on top of it would pay for the same tests twice.

Why it holds: Holm bounds the probability that any false claim survives under every dependence, so that
bundles may share a suspect, pictures or secrets. A test that was not handed in, and a bundle that is
untimely, count with p = 1 and e = 0, which is never more evidence than they had: handing in only the best of
a ledger gains nothing. Nor does a companion that was made up: no p-value goes below that of its own verdict,
where all the other tests of its ledger count as chance, and each bundle of another family adds a test before
it can take one away. If all bundles are of one family and were planned, this gives the verdicts' p-values.

The number of tests is the owners' word, as in each ledger. Planned tests without a bundle count once for
every owner, even where two owners share a ledger: that is more than needed, never less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from noli.core.errors import UsageError
from noli.ops.multiplicity import e_bh, holm
from noli.proof.check import EXIT, Checked

# As in a protocol.
LARGEST_ALPHA = 0.05


@dataclass(frozen=True)
class Handed:
    """One bundle among several.

    Attributes:
        name: What the checker calls it: its path.
        checked: What it says on its own.
        p: Its p-value among all tests, never below that of its own verdict; None where the bundle is tampered
            or untimely, because its figures count for nothing.
        survives: It is valid on its own, and `p` is at most the common alpha.
        on_trust: It would survive if its owner's word counted, see :mod:`noli.proof.trust`.
        e_bh: It is valid on its own, and e-BH names it, too; None for tests without an e-value.
    """

    name: str
    checked: Checked
    p: float | None = None
    survives: bool = False
    on_trust: bool = False
    e_bh: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the bundle's own answer and its part in the common one, for machines."""
        common = {"p_among_tests": self.p, "survives": self.survives, "survives_on_trust": self.on_trust}
        return {"bundle": self.name, **self.checked.as_dict(), **common, "e_bh": self.e_bh}


@dataclass(frozen=True)
class Several:
    """The common answer.

    Attributes:
        bundles: In the order in which they were handed in.
        alpha: Bound on the probability that any false claim survives; None if all bundles are tampered.
        tests: How many tests share it.
    """

    bundles: tuple[Handed, ...]
    alpha: float | None
    tests: int

    @property
    def exit_code(self) -> int:
        """3 if any is tampered; else 4 if any is untimely; 0 if all claims survive.

        Else 11 if all do by their owners' word, and 10 if not.
        """
        statuses = {one.checked.status for one in self.bundles}
        if "tampered" in statuses:
            return EXIT["tampered"]
        if "untimely" in statuses:
            return EXIT["untimely"]
        if all(one.survives for one in self.bundles):
            return EXIT["valid"]
        by_word = all(one.survives or one.on_trust for one in self.bundles)
        return EXIT["on trust"] if by_word else EXIT["not significant"]

    @property
    def survivors(self) -> tuple[str, ...]:
        """Names of the bundles whose claims survive."""
        return tuple(one.name for one in self.bundles if one.survives)

    @property
    def owners(self) -> tuple[str, ...]:
        """Public keys behind the bundles that are not tampered, each once."""
        found = (one.checked.commitment for one in self.bundles)
        return tuple(dict.fromkeys(one.owner for one in found if one is not None))

    def as_dict(self) -> dict[str, Any]:
        """Return the answer for machines."""
        return {
            "exit_code": self.exit_code,
            "alpha": self.alpha,
            "tests": self.tests,
            "owners": list(self.owners),
            "survivors": list(self.survivors),
            "bundles": [one.as_dict() for one in self.bundles],
        }


def together(checked: Sequence[tuple[str, Checked]], alpha: float | None = None) -> Several:
    """Return which claims hold together.

    Holm decides which of them survive. e-BH stands beside it, for sequential tests: of the claims that it
    names, a share of alpha at most is false on average.

    Args:
        checked: Name and answer of every bundle.
        alpha: Bound on the probability that any false claim survives, in (0, 0.05]; None: the smallest of the
            bundles that are not tampered. A larger one makes no claim valid that is not so on its own.

    Raises:
        UsageError: No bundle, the same one twice, or such an alpha does not exist.
    """
    if not checked:
        raise UsageError("There is no bundle to check.", fix="name at least one")
    if alpha is not None and not 0 < alpha <= LARGEST_ALPHA:
        fix = f"take one above 0, of {LARGEST_ALPHA} at most"
        raise UsageError("This is no alpha of a claim.", where=f"alpha {alpha:g}", fix=fix)
    _refuse_twins(checked)
    checked = _consistent(checked)
    protocols = [one.commitment.protocol for _, one in checked if one.commitment is not None]
    if not protocols:
        return Several(tuple(Handed(*one) for one in checked), alpha, 0)
    level = min(protocol.alpha for protocol in protocols) if alpha is None else alpha
    tests = _tests([one for _, one in checked])
    return Several(_judged(checked, level, tests), level, tests)


def _judged(checked: Sequence[tuple[str, Checked]], alpha: float, tests: int) -> tuple[Handed, ...]:
    claims = [None if one.status in ("tampered", "untimely") else one.claim for _, one in checked]
    outcomes = [claim.outcome for claim in claims if claim is not None]
    rest = tests - len(outcomes)
    stepped = iter(holm([*(one.p for one in outcomes), *[1.0] * rest]).tolist())
    named = iter(e_bh([*(one.e or 0.0 for one in outcomes), *[0.0] * rest], alpha).tolist())
    found = []
    for (name, one), claim in zip(checked, claims, strict=True):
        if claim is None:
            found.append(Handed(name, one))
            continue
        p, by_e = max(next(stepped), claim.verdict.p), next(named)
        valid, held = one.status == "valid", p <= alpha
        told = None if claim.outcome.e is None else valid and by_e
        found.append(Handed(name, one, p, valid and held, one.status == "on trust" and held, told))
    return tuple(found)


def _consistent(checked: Sequence[tuple[str, Checked]]) -> list[tuple[str, Checked]]:
    """Let nothing count of two bundles that contradict each other.

    Tests with the same secrets stand in one ledger, which only grows: of two, one is how the other began.
    Whoever asks again with an empty ledger, or a backup of one, has two that are not. Nor can two different
    lists have been released with the same secrets.
    """
    against: dict[int, str] = {}
    for i, (name, one) in enumerate(checked):
        for j, (other_name, other) in enumerate(checked[:i]):
            if _same_secrets(one, other) and (why := _contradiction(one, other)):
                against |= {i: why.format(other_name), j: why.format(name)}
    return [
        (name, replace(one, status="tampered", reasons=(against[i],)) if i in against else one)
        for i, (name, one) in enumerate(checked)
    ]


def _contradiction(one: Checked, other: Checked) -> str:
    if _forked(one, other):
        return "Its ledger and that of {} each list a test that the other leaves out."
    lists = {found.release.digest for found in (one, other) if found.release is not None}
    return "It and {} say that different files were released." if len(lists) > 1 else ""


def _same_secrets(one: Checked, other: Checked) -> bool:
    mine, others = one.commitment, other.commitment
    return mine is not None and others is not None and (mine.owner, mine.root) == (others.owner, others.root)


def _forked(one: Checked, other: Checked) -> bool:
    return any(
        (mine.protocol, mine.transcript, mine.p, mine.e) != (its.protocol, its.transcript, its.p, its.e)
        for mine, its in zip(one.spent, other.spent, strict=False)
    )


def _refuse_twins(checked: Sequence[tuple[str, Checked]]) -> None:
    seen: dict[str, str] = {}
    for name, one in checked:
        if one.claim is None:
            continue
        if (first := seen.get(one.claim.transcript)) is not None:
            raise UsageError(
                "The same test was handed in twice.",
                where=f"{first} and {name}",
                why="both have the same transcript",
                fix="name one of them only",
            )
        seen[one.claim.transcript] = name


def _tests(checked: Sequence[Checked]) -> int:
    """Return how many tests the families of these bundles have: made ones, and planned ones to come."""
    made: dict[tuple[str, str], set[tuple[str, str]]] = {}
    planned: dict[tuple[str, str], int] = {}
    for one in checked:
        if one.commitment is None:
            continue
        protocol = one.commitment.protocol
        # Two owners may call their families the same, as all do who give them no name.
        family = (one.commitment.owner, protocol.family)
        listed = {(test.transcript, test.protocol) for test in one.spent if test.family == protocol.family}
        made[family] = made.get(family, set()) | listed
        planned[family] = max(planned.get(family, 0), protocol.tests)
    open_ = sum(max(0, count - len(made[family])) for family, count in planned.items())
    return len(set().union(*made.values())) + open_
