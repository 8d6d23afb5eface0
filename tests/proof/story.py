"""A claim from commitment to bundle, against models that are functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noli.core.key import Key
from noli.proof.bundle import pack
from noli.proof.claim import Suspect
from noli.proof.commitment import Commitment, Vault
from noli.proof.kinds import kind
from noli.proof.protocol import Protocol
from noli.proof.session import Extras, Session, claim_of, members
from noli.proof.transcript import Transcript, content_of
from noli.proof.trust import Word
from noli.testing import KEYS

CLASSES = tuple("abcdefghij")
# Before round 123 of the beacon, which is that of test_records.
LONG_AGO = "2023-08-23T15:00:00+00:00"
COMMITTED, SINCE = "2026-01-01T12:00:00+00:00", "2026-02-01T00:00:00+00:00"
ASKED = "2026-05-01T00:00:00+00:00"
# What of a claim without public randomness no record can show.
WORD: frozenset[Word] = frozenset({"draw", "age"})
Model = Callable[[int, int], Mapping[str, Any]]


def protocol(**changes: Any) -> Protocol:
    fields = {
        "claim": "The model was trained on the pictures that were signed.",
        "null": "What the model answers does not depend on the secret classes.",
        "test": "labels",
        "parameters": {"classes": CLASSES, "k": 1},
        "alpha": 1e-4,
        "secrets": 40,
        "budget": 30,
    }
    return Protocol.model_validate({**fields, **changes})


@dataclass(frozen=True)
class Story:
    """What the owner has; `ask` is the suspect."""

    key: Key
    protocol: Protocol
    folder: Path

    def vault(self) -> Vault:
        queries = kind(self.protocol).queries
        return Vault(
            self.key,
            self.protocol,
            [
                [content_of(f"query {i}, {part}".encode()) for part in range(queries)]
                for i in range(self.protocol.secrets)
            ],
        )

    def commit(self, created: str = COMMITTED) -> Commitment:
        return self.vault().commit("A museum", created)

    def session(self, commitment: Commitment | None = None) -> Session:
        return Session(self.vault(), commitment or self.commit(), Transcript(start=SUSPECT.identity))

    def drawn(self, item: int) -> tuple[int, ...]:
        return kind(self.protocol).draw(self.vault().secret(item), "")

    def bundle(self, model: Model, *, session: Session | None = None, **extras: Any) -> bytes:
        session = session or self.session()
        session.run(model)
        claim, spent = claim_of(session, SUSPECT, self.folder / "ledger.jsonl")
        return pack(members(session, claim, spent, Extras(**extras)), self.key)


SUSPECT = Suspect(name="the suspect", where="https://models.example/v1", since=SINCE)


def story(folder: Path, key: Key = KEYS[0], **changes: Any) -> Story:
    return Story(key, protocol(**changes), folder)


def thief(told: Story, every: int = 2) -> Model:
    """Answers every second query as the marks have taught it, the others by a constant."""

    def ask(item: int, _part: int) -> Mapping[str, Any]:
        name = CLASSES[told.drawn(item)[0]] if item % every == 0 else "a"
        return {"status": "answered", "answer": (name,)}

    return ask


def honest(item: int, _part: int) -> Mapping[str, Any]:
    """Answers what it likes."""
    return {"status": "answered", "answer": (CLASSES[item * 7 % 10],)}


def altered(told: Story, **changes: Any) -> Story:
    return replace(told, protocol=told.protocol.model_copy(update=changes))
