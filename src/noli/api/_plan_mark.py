"""Plan marking: how many keys, documents or pictures a proof needs, before anything is released."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from noli import registry
from noli.core.errors import UsageError
from noli.core.method import MethodConfig
from noli.core.plugins import did_you_mean
from noli.options import configure, resolve
from noli.proof import plans, power
from noli.proof.plans import Goal, Hits, MarkPlan

Share = Annotated[float, Field(ge=0, le=1)]
_LIMIT, _LIMIT_IN_SEQUENCE, _PICTURES = 100_000, 10_000, 1_000
_SCORES = "Scores are taken to be normal, independent, and of the same spread."
_REFUSED = "Queries that are refused count as misses: measure the hit rate with them."


def _pair(value: object) -> object:
    """Read ``hits/trials``."""
    return value.split("/") if isinstance(value, str) else value


Pilot = Annotated[tuple[int, int] | None, BeforeValidator(_pair)]


class Shared(MethodConfig):
    """Options of every plan.

    Attributes:
        alpha: Probability of accusing somebody wrongly.
        tests: Planned tests that share alpha: suspects times recipients.
        power: Probability with which a marked model is to be found.
        budget: Most keys, documents, pictures or triggers that there can be.
        seed: Of what is simulated.
    """

    method: ClassVar[str]
    alpha: Annotated[float, Field(gt=1e-100, le=0.05)] = 1e-6
    tests: Annotated[int, Field(ge=1)] = 1
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    budget: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    def goal(self, otherwise: int = _LIMIT) -> Goal:
        """Return what is to be reached; without a budget there can be as many as `otherwise`."""
        return Goal(self.alpha, self.tests, self.power, self.budget or otherwise, self.seed)

    def settings(self, needed: int) -> dict[str, Any]:
        """Return the options with which `method` claims what was planned, `needed` secrets among them."""
        return {"alpha": self.alpha, "tests": self.tests}


class HitOptions(Shared):
    """Options of plans that count hits.

    Attributes:
        hit_rate: Hit rate of a marked model.
        pilot: Hits and queries of a pilot, 12/30; the lower end of its interval is planned with.
        looks: fixed: one test at the end. sequential: after every query.
        futile: Sequential: evidence below which it gives up.
    """

    hit_rate: Share | None = None
    pilot: Pilot = None
    looks: Literal["fixed", "sequential"] = "fixed"
    futile: Annotated[float, Field(ge=0, lt=1)] = 0.01

    def planned(self, kind: Literal["labels", "choices"], unit: str, chance: float, *notes: str) -> MarkPlan:
        """Plan hits of this chance."""
        rate, measured = _rate(self.hit_rate, self.pilot, "hit_rate", "0.4")
        hits = Hits(kind, unit, chance, rate, (*measured, *notes))
        if self.looks == "fixed":
            return plans.plan_hits(hits, self.goal())
        return plans.plan_sequence(hits, self.goal(_LIMIT_IN_SEQUENCE), self.futile)

    def settings(self, needed: int) -> dict[str, Any]:
        """As :meth:`Shared.settings`; `futile` is the protocol's own in all marks."""
        return {**super().settings(needed), "looks": self.looks}


class Labels(HitOptions):
    """Options of a plan of labels.

    Attributes:
        classes: Number of classes that are drawn from.
        k: How many of the suspect's classes count.
    """

    method: ClassVar[str] = "mark/gratings"
    classes: Annotated[int, Field(ge=2)]
    k: Annotated[int, Field(ge=1)] = 1

    def plan(self) -> MarkPlan:
        """Plan keys whose class is drawn."""
        return self.planned("labels", "keys", min(1.0, self.k / self.classes), _REFUSED)

    def settings(self, needed: int) -> dict[str, Any]:
        """As :meth:`Shared.settings`; the classes are those of the data."""
        return {"keys": needed, "k": self.k, **super().settings(needed)}


class Choices(HitOptions):
    """Options of a plan of choices.

    Attributes:
        options: Number of options per question.
    """

    method: ClassVar[str] = "mark/leximark"
    options: Annotated[int, Field(ge=2)] = 2

    def plan(self) -> MarkPlan:
        """Plan questions whose right option is drawn."""
        return self.planned("choices", "questions", 1 / self.options)

    def settings(self, needed: int) -> dict[str, Any]:
        """As :meth:`Shared.settings`: which of as many variants was published."""
        asked = {"documents": needed, "ask": "choice", "variants": self.options}
        return {**asked, **super().settings(needed)}


class Texts(Shared):
    """Options of a plan of texts.

    Attributes:
        variants: Variants per text: the released one and its counterfactuals.
        effect: By how many standard deviations a marked model prefers the released one, on average.
        ranks: Instead, share (or number) of texts whose released variant came first, second, ... in a pilot.
    """

    method: ClassVar[str] = "mark/leximark"
    variants: Annotated[int, Field(ge=2, le=256)]
    effect: Annotated[float, Field(ge=-10, le=10)] | None = None
    ranks: tuple[Annotated[float, Field(ge=0)], ...] | None = None

    def plan(self) -> MarkPlan:
        """Plan documents whose released variant is drawn."""
        given = {"variants": float(self.variants)}
        if (self.effect is None) == (self.ranks is None):
            raise _one_of("effect", "0.5", "ranks", "0.5,0.2,0.2,0.1")
        if self.effect is not None:
            law = power.rank_law(self.variants - 1, self.effect).tolist()
            return plans.plan_ranks(law, self.goal(), {**given, "effect": self.effect}, (_SCORES,))
        shares = self.ranks or ()
        if len(shares) != self.variants or not sum(shares) > 0:
            fix = f"give {self.variants} numbers: how often it came first, second, ..., last"
            raise UsageError("The ranks do not fit the variants.", where=f"{len(shares)} ranks", fix=fix)
        return plans.plan_ranks([one / sum(shares) for one in shares], self.goal(), given)

    def settings(self, needed: int) -> dict[str, Any]:
        """As :meth:`Shared.settings`."""
        return {"documents": needed, "ask": "scores", "variants": self.variants, **super().settings(needed)}


class Bits(Shared):
    """Options of a plan of bits.

    Attributes:
        bits: Length of the message.
        accuracy: Share of right bits in one picture of a marked model.
        pilot: Right bits and bits of a pilot, 130/192; the lower end of its interval is planned with.
    """

    method: ClassVar[str] = "mark/sleepermark"
    bits: Annotated[int, Field(ge=1, le=4096)]
    accuracy: Share | None = None
    pilot: Pilot = None

    def plan(self) -> MarkPlan:
        """Plan pictures that vote for one message."""
        rate, measured = _rate(self.accuracy, self.pilot, "accuracy", "0.8")
        return plans.plan_bits(self.bits, rate, self.goal(_PICTURES), measured)

    def settings(self, needed: int) -> dict[str, Any]:
        """As :meth:`Shared.settings`."""
        return {"bits": self.bits, "images": needed, **super().settings(needed)}


class Decoys(Shared):
    """Options of a plan of decoys.

    Attributes:
        hit_rate: How often the true trigger of a marked model scores highest of all.
        pilot: The same in a pilot, 28/30; the lower end of its interval is planned with.
        effect: Instead, by how many standard deviations of the decoys' scores it is above them, on average.
        alpha: As the test has it: it is a control beside the one of the bits.
    """

    method: ClassVar[str] = "mark/sleepermark"
    alpha: Annotated[float, Field(gt=1e-100, le=0.05)] = 0.05
    hit_rate: Share | None = None
    pilot: Pilot = None
    effect: Annotated[float, Field(ge=-10, le=10)] | None = None

    def plan(self) -> MarkPlan:
        """Plan triggers among which the true one is drawn."""
        if self.effect is None:
            rate, measured = _rate(self.hit_rate, self.pilot, "hit_rate", "0.95")
            return plans.plan_decoys(self.goal(), rate=rate, notes=measured)
        if self.hit_rate is not None or self.pilot is not None:
            raise _one_of("hit_rate", "0.95", "effect", "3")
        return plans.plan_decoys(self.goal(), rate=None, effect=self.effect, notes=(_SCORES,))

    def settings(self, needed: int) -> dict[str, Any]:
        """As :meth:`Shared.settings`; the alpha of this test is the mark's ``control``."""
        return {"triggers": needed, "control": self.alpha, "tests": self.tests}


_KINDS: dict[str, type[Labels | Choices | Texts | Bits | Decoys]] = {
    "labels": Labels,
    "choices": Choices,
    "texts": Texts,
    "bits": Bits,
    "decoys": Decoys,
}


def plan_mark(kind: str, **options: object) -> MarkPlan:
    """Plan a proof of one kind: the smallest number of secrets that finds a marked model with some power.

    Nothing is marked and nobody is asked. Where a pilot is given, its rate is not taken as it is: the lower
    end of its 90 % Clopper-Pearson interval is, so that the plan is not optimistic.

    Args:
        kind: ``labels``, ``choices``, ``texts``, ``bits`` or ``decoys``; see :mod:`noli.proof.kinds`.
        options: For all kinds ``alpha``, ``tests``, ``power``, ``budget`` and ``seed``. Labels: ``classes``,
            ``k``; choices: ``options``; both: ``hit_rate`` or ``pilot``, ``looks``, ``futile``. Texts:
            ``variants``, ``effect`` or ``ranks``. Bits: ``bits``, ``accuracy`` or ``pilot``. Decoys:
            ``hit_rate``, ``pilot`` or ``effect``.

    Returns:
        The plan; :attr:`MarkPlan.reachable` says whether any number within the budget is enough, and
        :attr:`MarkPlan.reason` why not. A mark with :attr:`MarkPlan.settings` has the test that was planned.

    Raises:
        UsageError: Unknown kind or option, a value that does not fit, or no assumption about marked models.
    """
    if kind not in _KINDS:
        raise UsageError("There is no such kind of proof.", where=kind, fix=did_you_mean(kind, _KINDS))
    asked = configure(_KINDS[kind], f"a plan of {kind}", options)
    made = asked.plan()
    if made.needed is None:
        return made
    settings = asked.settings(made.needed)
    try:
        resolve(registry.get(asked.method), settings)
    except UsageError as error:
        return replace(made, notes=(*made.notes, f"No mark takes this: {asked.method}, {error.where}."))
    return replace(made, method=asked.method, settings=settings)


def _rate(
    rate: float | None, pilot: tuple[int, int] | None, name: str, example: str
) -> tuple[float, tuple[str, ...]]:
    """Return the rate to plan with, and where it comes from."""
    if rate is not None and pilot is None:
        return rate, ()
    if pilot is None or rate is not None:
        raise _one_of(name, example, "pilot", "12/30")
    hits, trials = pilot
    if not 0 <= hits <= trials or trials < 1:
        fix = "write hits/trials, for example 12/30"
        raise UsageError("This is no pilot.", where=f"pilot {hits}/{trials}", fix=fix)
    bound = power.pilot_bound(hits, trials)
    note = (
        f"Planned with {bound:.3g}, the lower end of the pilot's 90 % interval, and not with its "
        f"{hits / trials:.3g}, so that the plan is not optimistic. A larger pilot narrows it."
    )
    return bound, (note,)


def _one_of(first: str, one: str, second: str, other: str) -> UsageError:
    flag = first.replace("_", "-")
    return UsageError(
        "A plan needs one assumption about how a marked model answers.",
        why=f"give either {first} or {second}, and not both",
        fix=f"for example --{flag} {one}, or --{second} {other}",
    )
