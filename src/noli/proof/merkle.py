"""Merkle trees over SHA-256 as in RFC 6962, section 2.1: one root commits to many leaves, opened singly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf's data; the prefix keeps a leaf from passing for an inner node."""
    return hashlib.sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; of none, the hash of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    left = _left(len(leaves))
    return _node(root(leaves[:left]), root(leaves[left:]))


def path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the sibling hashes from a leaf up to the root.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} of {len(leaves)}")
    if len(leaves) == 1:
        return ()
    left = _left(len(leaves))
    if index < left:
        return (*path(leaves[:left], index), root(leaves[left:]))
    return (*path(leaves[left:], index - left), root(leaves[:left]))


def root_from(leaf: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """Return the root that a leaf with its siblings leads to; None if the path cannot be one of this tree."""
    if not 0 <= index < size:
        return None
    if size == 1:
        return leaf if not siblings else None
    if not siblings:
        return None
    left, sibling = _left(size), siblings[-1]
    if index < left:
        below = root_from(leaf, index, left, siblings[:-1])
        return None if below is None else _node(below, sibling)
    below = root_from(leaf, index - left, size - left, siblings[:-1])
    return None if below is None else _node(sibling, below)


def _left(size: int) -> int:
    """Largest power of two below `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
