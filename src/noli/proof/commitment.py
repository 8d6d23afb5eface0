"""The commitment: one signed root over all secrets and the protocol, published before the data is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field

from noli.core.key import Key
from noli.proof import merkle
from noli.proof.protocol import Protocol
from noli.proof.records import Damaged, Digest, Moment, Record, now, sha256

Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class Commitment(Record):
    """What is published, and time-stamped, before release.

    Attributes:
        protocol: The pre-registered claim.
        root: Merkle root over the secrets (see :func:`leaf`).
        owner: The owner's ed25519 public key, 32 bytes in hex.
        name: Who makes the claim, in words.
        created: By the owner's clock, which proves nothing.
        released: SHA-256 of the list of released files (:mod:`noli.proof.released`); None where they are
            made after the commitment, and in commitments of older versions.
        signature: Of everything else in its canonical form.
    """

    schema_version: Literal[1] = 1
    protocol: Protocol
    root: Digest
    owner: Digest
    name: Annotated[str, Field(max_length=200)]
    created: Moment
    released: Digest | None = None
    signature: Signature

    def canonical(self, *without: str) -> bytes:
        """Return the canonical bytes; a commitment without a list has the same ones as ever."""
        return super().canonical(*without, *(() if self.released else ("released",)))

    def check(self) -> None:
        """Check the signature.

        Raises:
            Damaged: It is not the owner's.
        """
        check_signature(self.owner, self.signature, self.canonical("signature"), "the commitment")


class Opening(Record):
    """One opened secret.

    Attributes:
        index: Its place, from 0.
        secret: 32 bytes in hex, from which the assignment follows.
        contents: Digests of what is sent or compared with this secret: one per query or text variant.
        path: Sibling hashes up to the root.
    """

    index: Annotated[int, Field(ge=0)]
    secret: Digest
    contents: tuple[Digest, ...]
    path: tuple[Digest, ...]

    def check(self, commitment: Commitment, protocol: str) -> None:
        """Check that this secret is the one that was committed.

        Args:
            commitment: What was published.
            protocol: Digest of its protocol, which takes its time where there are many classes.

        Raises:
            Damaged: It is not.
        """
        data = leaf(commitment.owner, protocol, self.index, self.secret, self.contents)
        siblings = [bytes.fromhex(one) for one in self.path]
        found = merkle.root_from(merkle.leaf_hash(data), self.index, commitment.protocol.secrets, siblings)
        if found is None or found.hex() != commitment.root:
            raise Damaged(f"secret {self.index} is not the one that was committed")


@dataclass(frozen=True)
class Vault:
    """The owner's side of a commitment: derives secrets from the key, and opens them.

    Attributes:
        key: The owner's key.
        protocol: The claim.
        contents: Per secret, digests of what belongs to it.
    """

    key: Key
    protocol: Protocol
    contents: Sequence[Sequence[str]]

    def secret(self, index: int) -> Key:
        """Return the secret of one place, as a key of its own."""
        return item_key(self.key, self.protocol, index)

    def commit(self, name: str = "", created: str | None = None, released: str | None = None) -> Commitment:
        """Sign the root over all secrets.

        Args:
            name: Who claims, in words.
            created: Time by the owner's clock; now by default.
            released: SHA-256 of the list of released files, if there are any yet.
        """
        fields = {
            "protocol": self.protocol,
            "root": merkle.root(self._leaves).hex(),
            "owner": public_key(self.key),
            "name": name,
            "created": created or now(),
            "released": released,
        }
        unsigned = Commitment.model_validate({**fields, "signature": "0" * 128})
        return unsigned.model_copy(update={"signature": sign(self.key, unsigned.canonical("signature"))})

    def open(self, indices: Sequence[int]) -> list[Opening]:
        """Return the secrets of these places with their paths; the others stay sealed."""
        leaves, opened = self._leaves, []
        for index in indices:
            siblings = tuple(one.hex() for one in merkle.path(leaves, index))
            secret, contents = self.secret(index).export_secret().hex(), tuple(self.contents[index])
            opened.append(Opening(index=index, secret=secret, contents=contents, path=siblings))
        return opened

    @cached_property
    def _leaves(self) -> list[bytes]:
        owner, claim = public_key(self.key), self.protocol.digest
        if len(self.contents) != self.protocol.secrets:
            raise ValueError(f"{len(self.contents)} contents for {self.protocol.secrets} secrets")
        return [
            merkle.leaf_hash(leaf(owner, claim, i, self.secret(i).export_secret().hex(), tuple(contents)))
            for i, contents in enumerate(self.contents)
        ]


def entropy(commitment: Commitment, randomness: str, index: int) -> str:
    """Return what public randomness adds to the draw of one secret; nothing where there is none.

    It is tied to the whole tree and to the place in it: no secret can be chosen for its own class, because
    every change of one changes the draws of all.
    """
    return f"{randomness}/{commitment.root}/{index}" if randomness else ""


def leaf(owner: str, protocol: str, index: int, secret: str, contents: Sequence[str]) -> bytes:
    """Return the data of one leaf: the secret, bound to owner, claim (a digest), place and contents."""
    joined = sha256(*(bytes.fromhex(one) for one in contents))
    fields = (owner, protocol, index.to_bytes(8).hex(), secret, joined)
    return b"noli/leaf/v1" + b"".join(bytes.fromhex(one) for one in fields)


def item_key(owner: Key, protocol: Protocol, index: int) -> Key:
    """Return the secret of one place; another protocol has other secrets."""
    return Key.from_bytes(owner.subkey(f"noli/proof/v1/{protocol.digest}/{index}"))


def public_key(key: Key) -> str:
    """Return the owner's public signing key, 32 bytes in hex."""
    return _signer(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sign(key: Key, data: bytes) -> str:
    """Sign with the owner's key (ed25519, RFC 8032); 64 bytes in hex."""
    return _signer(key).sign(data).hex()


def check_signature(owner: str, signature: str, data: bytes, what: str) -> None:
    """Check an ed25519 signature.

    Raises:
        Damaged: The signature, the key or the data is another.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(owner)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError) as error:
        raise Damaged(f"{what} is not signed by {owner[:16]}") from error


def _signer(key: Key) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.subkey("noli/proof/v1/sign"))
