"""What is fixed before release: the claim, its test, how many secrets, how often somebody looks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from noli.proof.records import Digest, Record

TestName = Literal["labels", "choices", "texts", "bits", "decoys"]


class BeaconPlan(Record):
    """Which public randomness decides the assignments, named before it exists.

    Attributes:
        source: ``drand-quicknet``, whose rounds are signed and checked offline.
        round: Its number, which tells its time.
    """

    source: Literal["drand-quicknet"] = "drand-quicknet"
    round: Annotated[int, Field(ge=1, lt=2**40)]


class Protocol(Record):
    """The pre-registered claim; its digest is part of every secret, so that none fits another claim.

    Attributes:
        claim, null: In words, with which the certificate opens.
        test: Kind of secret assignment and the statistic over it (:mod:`noli.proof.kinds`).
        parameters: Of that test: the classes and k, the number of variants, of message bits, ...
        alpha: Probability of accusing somebody wrongly, in (0, 0.05].
        secrets: How many are committed.
        budget: How many of them may be used, in order; the others stay sealed.
        looks: ``fixed``: one test after `budget` queries. ``sequential``: anytime-valid, stops early.
        futile: Sequential: give up when the evidence falls below this value.
        family, tests: Name of a family of tests and how many are planned in it (suspects times recipients,
            each recipient with secrets of its own); alpha is shared among them.
        correction: ``holm``: the probability of any wrong accusation by the planned tests stays below alpha,
            by these and all further ones below twice that (:func:`noli.proof.ledger.price`); what the other
            tests gave is the owner's word, so that every test gets the first step of Holm's alone, which is
            Bonferroni's share. ``e-bh``: the same by e-values (sequential tests only).
        beacon: Public randomness that enters the assignments; None: they follow from the secrets alone, and
            nothing shows that the owner drew these at random and did not try many.
        binds: Names and SHA-256 of what must not change either: an extractor, what is marked. What is
            released depends on the secrets, which depend on this: a commitment binds it beside its protocol.
    """

    schema_version: Literal[1] = 1
    claim: Annotated[str, Field(min_length=1, max_length=500)]
    null: Annotated[str, Field(min_length=1, max_length=500)]
    test: TestName
    parameters: dict[str, Any] = Field(default_factory=dict)
    alpha: Annotated[float, Field(gt=0, le=0.05)] = 1e-6
    secrets: Annotated[int, Field(ge=1, le=1_000_000)]
    budget: Annotated[int, Field(ge=1)]
    looks: Literal["fixed", "sequential"] = "fixed"
    futile: Annotated[float, Field(ge=0, lt=1)] = 0.01
    family: Annotated[str, Field(max_length=200)] = ""
    tests: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    correction: Literal["holm", "e-bh"] = "holm"
    beacon: BeaconPlan | None = None
    binds: dict[str, Digest] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.budget > self.secrets:
            raise ValueError(f"budget {self.budget} exceeds the {self.secrets} secrets")
        if self.looks == "sequential" and self.test in ("bits", "decoys"):
            raise ValueError(
                f"{self.test} share one secret, so their p-values cannot be multiplied: use looks=fixed"
            )
        if self.test == "decoys" and self.budget != 1:
            raise ValueError("one secret names the true trigger among the decoys: use budget=1")
        if self.correction == "e-bh" and self.looks == "fixed":
            raise ValueError("e-bh needs e-values: use looks=sequential")
        return self
