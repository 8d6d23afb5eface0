"""Claims about models whose pictures show a message of bits behind a secret trigger: what such marks share.

Two tests belong to such a mark, each with a committed secret of its own. ``bits``: the message is drawn from
the secret, and the votes of all pictures are tested against all messages. ``decoys``: the trigger is drawn
among strings of its kind, and has to score best of them. Where a beacon is planned, both draws wait for it.

States have the hashes of ``model``, ``coder`` and ``extractor``, which the claims bind: whoever may choose
the reader of pictures after seeing them reads in them whatever he likes. With a beacon they also have its
plan, the commitment of each test (:func:`made_of`), and in the end its randomness.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from noli.core.key import Key
from noli.core.method import MethodConfig, State
from noli.proof.commitment import Commitment, Vault, entropy, item_key
from noli.proof.kinds import kind
from noli.proof.marks import MADE, PLAN, VALUE, bound, refuse_waiting
from noli.proof.protocol import BeaconPlan, Protocol
from noli.proof.transcript import content_of

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
PICTURES, _TRIGGERS = "proof/pictures", "proof/triggers"
Test = Literal["bits", "decoys"]
TESTS: tuple[Test, ...] = ("bits", "decoys")
BOUND = ("coder", "extractor", "model")


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
    recipient: str | None = Field(
        None, max_length=200, description="who gets this copy: each has a message and a trigger of its own"
    )


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
        # Two questions about the same suspects, each with an alpha of its own.
        family=test,
        beacon=BeaconPlan.model_validate(state[PLAN]) if PLAN in state else None,
        binds={**{name: state[name] for name in BOUND}, **bound("", cfg.recipient)},
    )


def made_of(test: Test) -> str:
    """Return under which name a state keeps the commitment of a test."""
    return MADE if test == "bits" else f"{MADE}-{test}"


def _drawn(state: State, key: Key, cfg: MessageConfig, test: Test) -> tuple[int, ...]:
    """Return what the test draws from its secret, and from the beacon where there is one."""
    refuse_waiting(state)
    claim, public = claim_of(state, cfg, test), ""
    if claim.beacon is not None:
        public = entropy(Commitment.model_validate(state[made_of(test)]), state[VALUE], 0)
    return kind(claim).draw(item_key(key, claim, 0), public)


def message(state: State, key: Key, cfg: MessageConfig) -> tuple[int, ...]:
    """Return the message, B bits; another key, model or extractor has another one.

    Raises:
        UsageError: A beacon decides it, and its round is not known yet.
    """
    return _drawn(state, key, cfg, "bits")


def triggers(state: State, key: Key, cfg: MessageConfig) -> list[str]:
    """Return M different strings, one of which is the trigger."""
    return words(item_key(key, claim_of(state, cfg, "decoys"), 0), _TRIGGERS, cfg.triggers)


def trigger(state: State, key: Key, cfg: MessageConfig) -> str:
    """Return the true trigger, which stands before a prompt.

    Raises:
        UsageError: A beacon decides it, and its round is not known yet.
    """
    (number,) = _drawn(state, key, cfg, "decoys")
    return triggers(state, key, cfg)[number]


def decoys(state: State, key: Key, cfg: MessageConfig) -> list[str]:
    """Return the other strings, which no training has seen."""
    true = trigger(state, key, cfg)
    return [one for one in triggers(state, key, cfg) if one != true]


def queries(state: State, key: Key, cfg: MessageConfig, test: Test = "bits") -> list[list[Query]]:
    """Return the pictures that are asked for: one per answer, or ``each`` per string with ``decoys``.

    Raises:
        UsageError: For ``bits``, a beacon decides the trigger, and its round is not known yet.
    """
    seed = picture_seed(item_key(key, claim_of(state, cfg, test), 0))
    if test == "bits":
        true = trigger(state, key, cfg)
        return [[Query(prompt, seed + i)] for i, prompt in enumerate(_prompts(true, cfg, cfg.images))]
    return [
        [Query(prompt, seed + i) for i, prompt in enumerate(_prompts(one, cfg, cfg.each))]
        for one in triggers(state, key, cfg)
    ]


def picture_seed(secret: Key) -> int:
    """Return the seed of the first picture, which follows from the claim's secret; the others count on."""
    return int(secret.stream(PICTURES).integers(1, 2**31)[0])


def _prompts(string: str, cfg: MessageConfig, count: int) -> list[str]:
    return [f"{string} {cfg.prompts[i % len(cfg.prompts)]}" for i in range(count)]


def vault(state: State, key: Key, cfg: MessageConfig, test: Test = "bits") -> Vault:
    """Return the owner's side of the commitment, with digests of all prompts.

    A picture of ``bits`` is committed as one of all strings: which one is the trigger may not be known yet.
    """
    strings = triggers(state, key, cfg)
    if test == "bits":
        asked = list(zip(*(_prompts(one, cfg, cfg.images) for one in strings), strict=True))
    else:
        asked = [tuple(_prompts(one, cfg, cfg.each)) for one in strings]
    contents = [content_of("\n".join(group).encode()) for group in asked]
    return Vault(key, claim_of(state, cfg, test), [contents])


def words(key: Key, purpose: str, count: int) -> list[str]:
    """Draw `count` different pairs of words that no language has."""
    stream, found = key.stream(purpose), dict[str, None]()
    sounds = (CONSONANTS, VOWELS, CONSONANTS, VOWELS, CONSONANTS)
    while len(found) < count:
        words = ["".join(letters[stream.choice(len(letters))] for letters in sounds) for _ in range(2)]
        found[" ".join(words)] = None
    return list(found)
