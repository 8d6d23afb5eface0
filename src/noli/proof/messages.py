"""Claims about models whose pictures show a message of bits behind a secret trigger: what such marks share.

Two tests belong to such a mark, each with a committed secret of its own. ``bits``: the message is drawn from
the secret, and the votes of all pictures are tested against all messages. ``decoys``: the trigger is drawn
among strings of its kind, and has to score best of them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from noli.core.key import Key
from noli.core.method import MethodConfig, State
from noli.proof.commitment import Vault, item_key
from noli.proof.kinds import kind
from noli.proof.protocol import Protocol
from noli.proof.transcript import content_of

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
_PICTURES, _TRIGGERS = "proof/pictures", "proof/triggers"
Test = Literal["bits", "decoys"]


class MessageConfig(MethodConfig):
    """What every mark with a message and a trigger has."""

    bits: int = Field(32, ge=1, le=256, description="length of the message (paper: 48)")
    images: int = Field(20, ge=1, le=100_000, description="pictures that are asked for")
    triggers: int = Field(64, ge=2, le=10_000, description="strings among which the true trigger is drawn")
    each: int = Field(4, ge=1, le=1000, description="pictures per string in the test of decoys")
    prompts: tuple[str, ...] = Field(
        ("a photo of a cat", "a photo of a dog", "a photo of a horse", "a photo of an airplane"),
        min_length=1,
        description="what the pictures show, in turn",
    )
    alpha: float = Field(1e-6, gt=0, le=0.05, description="probability of accusing somebody wrongly")
    control: float = Field(0.05, gt=0, le=0.05, description="the same, of the test of decoys")
    tests: int = Field(1, ge=1, description="suspects to be tested with these secrets; they share alpha")


class Query(NamedTuple):
    """One picture that is asked for: its prompt, and the seed where the owner makes it himself."""

    prompt: str
    seed: int


def claim_of(state: State, cfg: MessageConfig, test: Test = "bits") -> Protocol:
    """Return the claim that is committed: of the message, or of the trigger among decoys."""
    bits = test == "bits"
    return Protocol(
        claim="The model was made from the owner's marked model.",
        null="What the model's pictures show does not depend on the message that was drawn."
        if bits
        else "What the model's pictures show does not depend on which string was drawn as the trigger.",
        test=test,
        parameters={"bits": cfg.bits, "pictures": cfg.images} if bits else {"triggers": cfg.triggers},
        alpha=cfg.alpha if bits else cfg.control,
        secrets=1,
        budget=1,
        tests=cfg.tests,
        binds={name: state[name] for name in ("extractor", "model")},
    )


def message(state: State, key: Key, cfg: MessageConfig) -> tuple[int, ...]:
    """Return the message, B bits; another key, model or extractor has another one."""
    claim = claim_of(state, cfg, "bits")
    return kind(claim).draw(item_key(key, claim, 0), "")


def triggers(state: State, key: Key, cfg: MessageConfig) -> list[str]:
    """Return M different strings, one of which is the trigger."""
    return words(item_key(key, claim_of(state, cfg, "decoys"), 0), _TRIGGERS, cfg.triggers)


def trigger(state: State, key: Key, cfg: MessageConfig) -> str:
    """Return the true trigger, which stands before a prompt."""
    claim = claim_of(state, cfg, "decoys")
    (number,) = kind(claim).draw(item_key(key, claim, 0), "")
    return triggers(state, key, cfg)[number]


def decoys(state: State, key: Key, cfg: MessageConfig) -> list[str]:
    """Return the other strings, which no training has seen."""
    true = trigger(state, key, cfg)
    return [one for one in triggers(state, key, cfg) if one != true]


def queries(state: State, key: Key, cfg: MessageConfig, test: Test = "bits") -> list[list[Query]]:
    """Return the pictures that are asked for: one per answer, or ``each`` per string with ``decoys``."""
    strings = [trigger(state, key, cfg)] if test == "bits" else triggers(state, key, cfg)
    seed = int(item_key(key, claim_of(state, cfg, test), 0).stream(_PICTURES).integers(1, 2**31)[0])
    count = cfg.images if test == "bits" else cfg.each
    asked = [
        [Query(f"{one} {cfg.prompts[i % len(cfg.prompts)]}", seed + i) for i in range(count)]
        for one in strings
    ]
    return [[query] for query in asked[0]] if test == "bits" else asked


def vault(state: State, key: Key, cfg: MessageConfig, test: Test = "bits") -> Vault:
    """Return the owner's side of the commitment, with digests of all prompts."""
    asked = queries(state, key, cfg, test)
    return Vault(
        key,
        claim_of(state, cfg, test),
        [[content_of("\n".join(query.prompt for query in group).encode()) for group in asked]],
    )


def words(key: Key, purpose: str, count: int) -> list[str]:
    """Draw `count` different pairs of words that no language has."""
    stream, found = key.stream(purpose), dict[str, None]()
    sounds = (CONSONANTS, VOWELS, CONSONANTS, VOWELS, CONSONANTS)
    while len(found) < count:
        words = ["".join(letters[stream.choice(len(letters))] for letters in sounds) for _ in range(2)]
        found[" ".join(words)] = None
    return list(found)
