"""What a verification drew, and from what: enough to make every draw again from the bundle alone."""

from __future__ import annotations

from typing import Any

from noli.core.environment import package_version
from noli.proof.commitment import entropy
from noli.proof.kinds.base import ASSIGNMENT
from noli.proof.messages import PICTURES, picture_seed
from noli.proof.session import Session

# Of the extras; those that noli always has are in the environment.
_OPTIONAL = ("diffusers", "py-ecc", "rfc3161-client", "tokenizers", "transformers")
_NONE = (
    "No seed was chosen for this verification: every draw that its figures rest on follows from the opened "
    "secrets, and from the beacon where one is planned."
)
_UNUSED = " No generator of Python, NumPy or torch takes part in them."
_DERIVED = " The seed below follows from the first secret; pictures of a model that lies here begin with it."


def randomness(session: Session) -> dict[str, Any]:
    """Return where the draws of a verification come from.

    ``statement`` says it in words. ``seeds`` has the integer seeds that were derived, if any. ``assignment``
    names the stream of each opened secret (:meth:`noli.core.key.Key.stream`) that its assignment is drawn
    from: purpose, and item with ``{index}`` for the place of the secret. ``beacon`` is the public randomness.
    """
    commitment, beacon = session.commitment, session.beacon
    pictures = commitment.protocol.test in ("bits", "decoys")
    item = entropy(commitment, beacon.randomness if beacon else "", 0).removesuffix("/0")
    return {
        "statement": _NONE + (_DERIVED if pictures else _UNUSED),
        "seeds": {PICTURES: picture_seed(session.vault.secret(0))} if pictures else {},
        "assignment": {"purpose": ASSIGNMENT, "item": f"{item}/{{index}}" if item else ""},
        "derivation": "HKDF-SHA256 and ChaCha20, as docs/architecture.md of noli says",
        "protocol": commitment.protocol.digest,
        "beacon": beacon.model_dump(mode="json") if beacon else None,
    }


def extras() -> dict[str, str]:
    """Return the versions of optional packages that are installed."""
    return {name: found for name in _OPTIONAL if (found := package_version(name))}
