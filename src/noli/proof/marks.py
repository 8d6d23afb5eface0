"""Marks whose secrets are queries with a class each: what all such methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.method import DataSummary, MethodConfig, State
from noli.proof.commitment import Commitment, Vault, entropy, item_key
from noli.proof.kinds import kind
from noli.proof.protocol import BeaconPlan, Protocol
from noli.proof.records import canonical, sha256
from noli.proof.transcript import content_of

Queries = Sequence[Sequence[npt.NDArray[np.uint8]]]
# What a state says of public randomness: its plan, the commitment that was made before it, and its value.
PLAN, MADE, VALUE = "beacon", "commitment", "randomness"
# Type of the error by which a run says that it waits for its round.
WAITING = "Waiting"


class ClaimConfig(MethodConfig):
    """What every mark's claim has."""

    alpha: float = Field(1e-6, gt=0, le=0.05, description="probability of accusing somebody wrongly")
    looks: Literal["fixed", "sequential"] = Field(
        "fixed", description="one test after all secrets, or one that may stop after every one"
    )
    tests: int = Field(1, ge=1, description="suspects to be tested with these secrets; they share alpha")
    recipient: str | None = Field(
        None, max_length=200, description="who gets this copy: each has secrets of its own"
    )


class MarkConfig(ClaimConfig):
    """What every mark with secret classes has.

    Every secret is asked: one that no test may open would take its share of the marked pictures for nothing,
    and a claim that was fixed beforehand cannot be widened to it afterwards.
    """

    keys: int = Field(20, ge=1, le=100_000, description="secrets that are asked")
    reserve: int = Field(
        0, ge=0, le=100_000, description="0; older marks have secrets that no test opens, and are still read"
    )
    k: int = Field(1, ge=1, description="how many of the suspect's classes count")


def protocol(
    classes: Sequence[str],
    cfg: MarkConfig,
    source: str = "",
    queries: int = 1,
    beacon: BeaconPlan | None = None,
) -> Protocol:
    """Return the claim that is committed.

    Args:
        classes: Names of the owner's classes.
        cfg: The method's configuration.
        source: Digest of what is marked, so that other data of the same key has other secrets.
        queries: Queries per secret.
        beacon: Public randomness that decides the classes, if any.
    """
    return Protocol(
        claim="The model was trained on pictures that carry the owner's marks.",
        null="The model's answers to the secret queries do not depend on the classes drawn for them.",
        test="labels",
        parameters={"classes": list(classes), "k": cfg.k, "queries": queries},
        alpha=cfg.alpha,
        secrets=cfg.keys + cfg.reserve,
        budget=cfg.keys,
        looks=cfg.looks,
        tests=cfg.tests,
        beacon=beacon,
        binds=bound(source, cfg.recipient),
    )


def bound(source: str, recipient: str | None) -> dict[str, str]:
    """Return what a claim binds of the marked data and of who gets it, where there is anything."""
    found = {"source": source} if source else {}
    # Its digest, not its name: the protocol is published.
    return found | ({"recipient": sha256(recipient.encode())} if recipient else {})


def claim_of(state: State, cfg: MarkConfig) -> Protocol:
    """Return the claim that is committed, from what a method's state fixes."""
    plan = BeaconPlan.model_validate(state[PLAN]) if PLAN in state else None
    return protocol(state["classes"], cfg, state.get("source", ""), beacon=plan)


def public_of(state: State | None) -> State:
    """Return what a state says of public randomness; it stays as it is when data is added."""
    return {name: state[name] for name in (PLAN, MADE, VALUE) if name in state} if state else {}


def refuse_waiting(state: State) -> None:
    """Refuse to mark before the public randomness that decides the classes is known.

    Raises:
        UsageError: It is planned, and not known.
    """
    if PLAN in state and VALUE not in state:
        raise UsageError(
            "The classes of these secrets are not decided yet.",
            why=f"round {state[PLAN]['round']} of the beacon decides them",
            fix="give the noli mark command with --beacon again",
        )


def check_possible(classes: Sequence[str], cfg: MarkConfig, *, begun: bool = False) -> None:
    """Refuse secrets that can never be evidence, before any picture is marked.

    Args:
        classes: Names of the owner's classes.
        cfg: The method's configuration.
        begun: Whether the marking is an earlier one that goes on.

    Raises:
        UsageError: Not even a hit for every secret would do, or there are secrets that no test may open.
    """
    if cfg.reserve and not begun:
        raise UsageError(
            "Secrets in reserve are of no use.",
            where=f"reserve={cfg.reserve}",
            why="they take a share of the marked pictures, and no test that was fixed beforehand asks them",
            fix="leave it out and use more keys; for further suspects, --set tests=N",
        )
    best = (min(cfg.k, len(classes)) / len(classes)) ** cfg.keys
    if best > cfg.alpha / cfg.tests:
        raise UsageError(
            "These secrets can never be evidence.",
            why=f"{cfg.keys} hits of {cfg.keys} among {len(classes)} classes have a p-value of {best:.2g}",
            fix="use more keys (noli mark plan labels says how many), or a larger alpha",
        )


def source_of(summary: DataSummary) -> str:
    """Return a digest of place, size and shapes of the data; empty for data without a place.

    It gives other data of the same key other secrets, and is there before any content is read. Which files
    were released is what :mod:`noli.proof.released` binds.
    """
    shapes = sorted((list(shape), count) for shape, count in summary.shapes.items())
    return sha256(canonical([summary.uri, summary.items, shapes])) if summary.uri else ""


def secrets(key: Key, claim: Protocol) -> list[Key]:
    """Return all secrets of a claim, in order."""
    return [item_key(key, claim, index) for index in range(claim.secrets)]


def targets(key: Key, claim: Protocol, public: Callable[[int], str] = lambda _: "") -> list[int]:
    """Return the class number of every secret; `public` is what a beacon adds to each draw."""
    test = kind(claim)
    return [test.draw(secret, public(index))[0] for index, secret in enumerate(secrets(key, claim))]


def drawn(state: State, key: Key, cfg: MarkConfig) -> list[int]:
    """Return the class number of every secret, as the test will draw it.

    Raises:
        UsageError: A beacon decides them, and its round is not known yet.
    """
    refuse_waiting(state)
    claim = claim_of(state, cfg)
    if claim.beacon is None:
        return targets(key, claim)
    made = Commitment.model_validate(state[MADE])
    return targets(key, claim, lambda index: entropy(made, state[VALUE], index))


def vault(key: Key, claim: Protocol, pictures: Queries) -> Vault:
    """Return the owner's side of the commitment, with the pictures that will be asked."""
    return Vault(key, claim, [[content_of(one.tobytes()) for one in group] for group in pictures])
