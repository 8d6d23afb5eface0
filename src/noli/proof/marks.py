"""Marks whose secrets are queries with a class each: what all such methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.method import DataSummary, MethodConfig
from noli.proof.commitment import Vault, item_key
from noli.proof.kinds import kind
from noli.proof.protocol import Protocol
from noli.proof.records import canonical, sha256
from noli.proof.transcript import content_of

Queries = Sequence[Sequence[npt.NDArray[np.uint8]]]


class MarkConfig(MethodConfig):
    """What every mark with secret classes has."""

    keys: int = Field(20, ge=1, le=100_000, description="secrets that are asked")
    reserve: int = Field(5, ge=0, le=100_000, description="further ones that no test opens")
    k: int = Field(1, ge=1, description="how many of the suspect's classes count")
    alpha: float = Field(1e-6, gt=0, le=0.05, description="probability of accusing somebody wrongly")
    looks: Literal["fixed", "sequential"] = Field(
        "fixed", description="one test after all secrets, or one that may stop after every one"
    )
    tests: int = Field(1, ge=1, description="suspects to be tested with these secrets; they share alpha")


def protocol(classes: Sequence[str], cfg: MarkConfig, source: str = "", queries: int = 1) -> Protocol:
    """Return the claim that is committed.

    Args:
        classes: Names of the owner's classes.
        cfg: The method's configuration.
        source: Digest of what is marked, so that other data of the same key has other secrets.
        queries: Queries per secret.
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
        binds={"source": source} if source else {},
    )


def check_possible(classes: Sequence[str], cfg: MarkConfig) -> None:
    """Refuse secrets that can never be evidence, before any picture is marked.

    Raises:
        UsageError: Not even a hit for every secret would do.
    """
    best = (min(cfg.k, len(classes)) / len(classes)) ** cfg.keys
    if best > cfg.alpha / cfg.tests:
        raise UsageError(
            "These secrets can never be evidence.",
            why=f"{cfg.keys} hits of {cfg.keys} among {len(classes)} classes have a p-value of {best:.2g}",
            fix="use more keys (noli mark plan labels says how many), or a larger alpha",
        )


def source_of(summary: DataSummary) -> str:
    """Return a digest of place, size and shapes of the data; empty for data without a place."""
    shapes = sorted((list(shape), count) for shape, count in summary.shapes.items())
    return sha256(canonical([summary.uri, summary.items, shapes])) if summary.uri else ""


def secrets(key: Key, claim: Protocol) -> list[Key]:
    """Return all secrets of a claim, in order."""
    return [item_key(key, claim, index) for index in range(claim.secrets)]


def targets(key: Key, claim: Protocol) -> list[int]:
    """Return the class number of every secret."""
    test = kind(claim)
    return [test.draw(secret, "")[0] for secret in secrets(key, claim)]


def vault(key: Key, claim: Protocol, pictures: Queries) -> Vault:
    """Return the owner's side of the commitment, with the pictures that will be asked."""
    return Vault(key, claim, [[content_of(one.tobytes()) for one in group] for group in pictures])
