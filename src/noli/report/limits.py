"""What a proof does not show, and what public randomness excludes, in words for a certificate."""

from __future__ import annotations

from noli.proof.beacon import round_time
from noli.proof.protocol import Protocol
from noli.proof.times import said

_DRAWN = (
    "That the owner drew the secrets at random: a dishonest one can choose secrets, or questions, that suit "
    "what any model answers. Public randomness in the assignments excludes it, where a claim has it."
)
_OTHERS = (
    "That no other commitments exist: of very many, one will be lucky. The ledger, which its owner keeps, "
    "lists the tests that were made."
)
NOT_SHOWN = (
    _DRAWN,
    "That a label map was right, where the suspect's classes have other names: read it in claim.json.",
    "Who trained the model, with what intent, and under which licence or consent.",
    "That the data reached the model directly: copies, excerpts, and models that learned from it, count too.",
    "Who made the data. The commitment shows who signed it, and since when it was known.",
    _OTHERS,
    "That the answers came from the suspect. The transcript is the verifier's record; its chain only shows "
    "that it was not changed later. Fingerprints of the server's certificate are in it where there was TLS.",
    "Anything, when the answer is no: refusals, filters, retraining or too few marks look like innocence.",
)
# Instead of the two above, where a beacon decided the assignments.
_LUCKIEST = (
    "That the owner made no other commitments. Whoever makes M of them before their rounds, for one round or "
    "for several, can show the luckiest and hide the rest: multiply the p-value by M, unless this "
    "commitment was published where everybody can see that it is the only one. A time stamp does not show "
    "that. The ledger, which its owner keeps, lists the tests that were made with this one."
)


def randomness(protocol: Protocol) -> str:
    """Return what public randomness excludes; nothing where there is none."""
    plan = protocol.beacon
    if plan is None:
        return ""
    return (
        f"{plan.source}, round {plan.round}, public from {said(round_time(plan.round))} on. It and the "
        "commitment decided the assignments: whoever committed before could not choose them, nor fit them to "
        "a model or to what any model answers."
    )


# Instead of what concerns classes and training data, where a model is what was taken.
_OF_MODELS = {
    NOT_SHOWN[1]: "That the pictures were read as they should be: the bits are what the owner's extractor "
    "made of them. Its hash is committed, and so is that of every response.",
    NOT_SHOWN[3]: "That it is a copy of the weights: models that learned from pictures behind the trigger "
    "count too.",
    NOT_SHOWN[4]: "Who made the model that was marked, or that its base is the owner's. The commitment shows "
    "who signed it, and since when it was known.",
}


def not_shown(protocol: Protocol) -> tuple[str, ...]:
    """Return what a claim does not show."""
    texts: tuple[str, ...] = NOT_SHOWN
    if protocol.test in ("bits", "decoys"):
        texts = tuple(_OF_MODELS.get(text, text) for text in texts)
    if protocol.beacon is None:
        return texts
    return (_LUCKIEST, *(text for text in texts if text not in (_DRAWN, _OTHERS)))
