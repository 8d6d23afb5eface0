"""What is claimed over passages: the protocol, the secrets, and what decides which variants are released."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.method import State
from noli.engine.texts.drafts import TextRequest
from noli.engine.texts.queries import Variant, questions, variant
from noli.methods.mark import leximark
from noli.methods.mark.leximark import Config
from noli.proof import releases
from noli.proof.commitment import Commitment, Vault, entropy
from noli.proof.marks import MADE, PLAN, VALUE, refuse_waiting
from noli.proof.protocol import BeaconPlan, Protocol
from noli.proof.releases import Passage

# Passages in the order of the secrets, each with the kind of its document.
Passages = Sequence[tuple[str, Passage]]
# Under this name a run's state keeps the digest of the documents that it marks.
SOURCE = "source"


def secrets_of(request: TextRequest, passages: Passages, beacon: BeaconPlan | None = None) -> Vault:
    """Return the owner's secrets over the passages of a collection.

    Args:
        request: The marking.
        passages: All of them, in the order of the secrets.
        beacon: Public randomness that decides which variants are released, if any.

    Raises:
        DataError: There are none.
        UsageError: They are too few for evidence.
    """
    cfg = request.cfg
    if not passages:
        raise DataError(
            "No text has enough words that may vary.",
            where=request.source,
            why=f"a passage of {cfg.passage} characters needs {cfg.least} such places",
            fix="give longer texts, lower --set least or similarity, or raise k and share",
        )
    claim = claim_over([one for _, one in passages], cfg, beacon)
    _check_possible(claim, cfg)
    return vault_of(claim, passages, request.key, cfg)


def claim_over(passages: Sequence[Passage], cfg: Config, beacon: BeaconPlan | None = None) -> Protocol:
    """Return the claim that is committed over these passages, in the order of the secrets."""
    return releases.protocol(
        passages,
        ask=cfg.ask,
        variants=count_of(cfg),
        asked=cfg.documents,
        alpha=cfg.alpha,
        looks=cfg.looks,
        tests=cfg.tests,
        words=leximark.WORDS[cfg.ask],
        recipient=cfg.recipient or "",
        beacon=beacon,
    )


def count_of(cfg: Config) -> int:
    """Return how many variants a passage has: in a cloze, one per word."""
    return cfg.options if cfg.ask == "cloze" else cfg.variants


def _check_possible(claim: Protocol, cfg: Config) -> None:
    best = float(count_of(cfg)) ** -claim.budget
    if best > claim.alpha / claim.tests:
        raise UsageError(
            "These texts can never be evidence.",
            why=f"{claim.budget} passages of {count_of(cfg)} variants have a p-value of {best:.2g} at best",
            fix="mark more or longer texts, or choose more variants or a larger alpha",
        )


def variants_of(passages: Passages, key: Key, cfg: Config) -> list[list[Variant]]:
    """Return all variants of every passage, as a reader sees them; they do not depend on any draw."""
    count = count_of(cfg)
    return [
        [variant(layout, passage, picks) for picks in releases.variants(passage, key, count)]
        for layout, passage in passages
    ]


def vault_of(claim: Protocol, passages: Passages, key: Key, cfg: Config) -> Vault:
    """Return the owner's side of the commitment."""
    asked = [questions(cfg.ask, group) for group in variants_of(passages, key, cfg)]
    return releases.vault(key, claim, asked)


def plan_of(state: State) -> BeaconPlan | None:
    """Return the public randomness that a run was begun with, if any."""
    return BeaconPlan.model_validate(state[PLAN]) if PLAN in state else None


def draws_of(state: State) -> Callable[[int], str]:
    """Return what public randomness adds to the draw of every secret of a run.

    Raises:
        UsageError: It is planned, and not known yet.
    """
    refuse_waiting(state)
    if PLAN not in state:
        return lambda _: ""
    made = Commitment.model_validate(state[MADE])
    return lambda index: entropy(made, state[VALUE], index)


def refuse_changed(state: State, vault: Vault, where: str) -> None:
    """Refuse to mark other passages than a run has committed to before.

    Raises:
        DataError: They are others.
    """
    if MADE not in state:
        return
    made = Commitment.model_validate(state[MADE])
    if (made.protocol, made.root) != (vault.protocol, vault.commit().root):
        raise DataError(
            "The texts are not those of the commitment.",
            where=where,
            why="their passages, or the words that may vary in them, have changed since it was made",
            fix="put the texts and the approved words back as they were, or mark into a new output",
        )


def refuse_other_texts(state: State, source: str, where: str) -> None:
    """Refuse to go on with other documents than a run was begun with: what was released must stay.

    Raises:
        DataError: They are others.
    """
    if state.get(SOURCE, source) != source:
        raise DataError(
            "The texts are not those that were marked.",
            where=where,
            why="a document was added, removed or changed since",
            fix="put them back as they were, or mark into a new output",
        )
