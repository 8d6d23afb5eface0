"""Match the items of a clean and a protected data set, and decide which are held out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from noli.core.dataset import Ref

TEST_SPLITS = ("test", "testing", "val", "valid", "validation", "dev")
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib"))
Pair = tuple[Ref, Ref]


@dataclass(frozen=True)
class Matched:
    """Pairs ``(clean, protected)`` in clean order, and what found no partner on either side."""

    pairs: list[Pair]
    clean_only: list[Ref]
    protected_only: list[Ref]


def stem(path: str) -> str:
    """Return a path without the suffix of an image format; other names are returned unchanged."""
    pure = PurePosixPath(path)
    return str(pure.with_suffix("")) if pure.suffix.lower() in _SUFFIXES else path


def container(refs: Sequence[Ref]) -> str | None:
    """Return the name of the one file that holds all items (``t.parquet`` of ``t.parquet#17``), or None."""
    found = {ref.path.rpartition("#")[0] for ref in refs}
    return (found.pop() or None) if len(found) == 1 else None


def match(clean: Sequence[Ref], protected: Sequence[Ref], made: Mapping[str, str] | None = None) -> Matched:
    """Match by path, then by path without the format's suffix, within the same split.

    Protecting may change formats (``a.jpg`` becomes ``a.png``) and then keeps names apart by appending
    (``a.jpg`` beside ``a.png`` becomes ``a.jpg.png``), so the second pass also tries the stem against the
    full clean name. A stem that fits several clean items fits none. Two single files that hold all items
    need not have the same name.

    Args:
        clean: The originals.
        protected: The protected items.
        made: Protected path -> path of its original, where that is known; tried first.
    """
    theirs, ours = container(protected), container(clean)
    known = dict(made or {})
    if theirs and ours and theirs != ours:
        for ref in protected:
            known.setdefault(ref.path, ours + ref.path.removeprefix(theirs))
    left = {(ref.split, ref.path): ref for ref in clean}
    partner: dict[tuple[str | None, str], Ref] = {}
    rest: list[Ref] = []
    for ref in protected:
        names = (known.get(ref.path, ref.path), ref.path, stem(ref.path))
        exact = next((k for name in names if (k := (ref.split, name)) in left), None)
        if exact is None or exact in partner:
            rest.append(ref)
        else:
            partner[exact] = ref
    stems: dict[tuple[str | None, str], list[tuple[str | None, str]]] = defaultdict(list)
    for key in left:
        if key not in partner:
            stems[key[0], stem(key[1])].append(key)
    lonely: list[Ref] = []
    for ref in rest:
        candidates = stems.get((ref.split, stem(ref.path)), [])
        if len(candidates) == 1 and candidates[0] not in partner:
            partner[candidates[0]] = ref
        else:
            lonely.append(ref)
    pairs = [(ref, partner[key]) for key, ref in left.items() if key in partner]
    return Matched(pairs, [ref for key, ref in left.items() if key not in partner], lonely)


def held_out_split(refs: Sequence[Ref]) -> str | None:
    """Return the split that serves as held-out data: the first of ``TEST_SPLITS`` that occurs."""
    present = {ref.split.lower() for ref in refs if ref.split}
    return next((name for name in TEST_SPLITS if name in present), None)


def is_held_out(ref: Ref) -> bool:
    """Tell whether an item lies in a test or validation split."""
    return ref.split is not None and ref.split.lower() in TEST_SPLITS


def order_key(ref: Ref) -> str:
    """Hash of an item's name: a fixed shuffle that does not depend on the order of the data set."""
    return hashlib.sha256(f"{ref.split}/{stem(ref.path)}".encode()).hexdigest()


def hold_out(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into training and held-out, `share` of every class, by the hash of the name.

    Returns:
        ``(training, held out)``, each in the given order; every class keeps at least one training item.
    """
    groups: dict[str | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair[0].label].append(pair)
    held: set[tuple[str | None, str]] = set()
    for group in groups.values():
        group.sort(key=lambda pair: order_key(pair[0]))
        count = min(round(share * len(group)), len(group) - 1)
        held.update((clean.split, clean.path) for clean, _ in group[:count])
    kept = [pair for pair in pairs if (pair[0].split, pair[0].path) not in held]
    return kept, [pair for pair in pairs if (pair[0].split, pair[0].path) in held]


def sample(refs: Sequence[Pair], limit: int) -> list[Pair]:
    """Keep at most `limit` pairs, chosen by the hash of the name, in the given order."""
    if len(refs) <= limit:
        return list(refs)
    chosen = sorted(range(len(refs)), key=lambda i: order_key(refs[i][0]))[:limit]
    return [refs[i] for i in sorted(chosen)]
