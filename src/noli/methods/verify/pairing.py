"""Which protected item belongs to which original, which are held out, and whether the pairs look true."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from noli.core.dataset import Ref
from noli.data.formats import stem

TEST_SPLITS = ("test", "testing", "val", "valid", "validation", "dev", "eval")
Pair = tuple[Ref, Ref]

# Every protected picture is compared with so many other originals and should win against most of them.
STRANGERS, BEATEN = 20, 0.8
# Below so many pictures the share says nothing.
_FEWEST = 20
_SIDE = 16
_FLAT = 1.0
_SAME = 0.98
_CHUNK = 1024


class Matched(NamedTuple):
    """Pairs ``(clean, protected)`` in clean order, and what found no partner on either side."""

    pairs: list[Pair]
    clean_only: list[Ref]
    protected_only: list[Ref]


def match(clean: Sequence[Ref], protected: Sequence[Ref], made: Mapping[str, str] | None = None) -> Matched:
    """Match by path, then by path without the format's suffix, within the same split.

    Protecting may change formats (``a.jpg`` becomes ``a.png``) and then keeps names apart by appending
    (``a.jpg`` beside ``a.png`` becomes ``a.jpg.png``), so the stem is also tried against the full clean
    name. A stem that fits several clean items fits none. Two single files that hold all items need not have
    the same name.

    Args:
        clean: The originals.
        protected: The protected items.
        made: Protected path -> path of its original, where that is known; tried first.
    """
    theirs, ours, known = _container(protected), _container(clean), dict(made or {})
    if theirs and ours:
        known = {ref.path: ours + ref.path.removeprefix(theirs) for ref in protected} | known
    named = {(ref.split, ref.path): ref for ref in clean}
    stems: dict[tuple[str | None, str], list[Ref]] = defaultdict(list)
    for ref in clean:
        stems[ref.split, stem(ref.path)].append(ref)
    partner: dict[Ref, Ref] = {}
    rest: list[Ref] = []
    for ref in protected:
        names = (known.get(ref.path, ref.path), ref.path, stem(ref.path))
        original = next((named[ref.split, name] for name in names if (ref.split, name) in named), None)
        if original is None or original in partner:
            rest.append(ref)
        else:
            partner[original] = ref
    lonely: list[Ref] = []
    for ref in rest:
        free = [original for original in stems[ref.split, stem(ref.path)] if original not in partner]
        if len(free) == 1:
            partner[free[0]] = ref
        else:
            lonely.append(ref)
    pairs = [(ref, partner[ref]) for ref in clean if ref in partner]
    return Matched(pairs, [ref for ref in clean if ref not in partner], lonely)


def _container(refs: Sequence[Ref]) -> str | None:
    """Return the name of the one file that holds all items (``t.parquet`` of ``t.parquet#17``), or None."""
    found = {ref.path.rpartition("#")[0] for ref in refs}
    return (found.pop() or None) if len(found) == 1 else None


def held_out_split(refs: Sequence[Ref]) -> str | None:
    """Return the split that serves as held-out data: the first of ``TEST_SPLITS`` that occurs."""
    present = {ref.split.lower() for ref in refs if ref.split}
    return next((name for name in TEST_SPLITS if name in present), None)


def is_held_out(ref: Ref) -> bool:
    """Tell whether an item lies in a test or validation split."""
    return ref.split is not None and ref.split.lower() in TEST_SPLITS


def shuffled(ref: Ref) -> str:
    """Hash of an item's name: a fixed shuffle that does not depend on the order of the data set."""
    return hashlib.sha256(f"{ref.split}/{stem(ref.path)}".encode()).hexdigest()


def _order(pair: Pair) -> str:
    return shuffled(pair[0])


def hold_out(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into training and held-out, `share` of every class, by the hash of the name.

    Returns:
        ``(training, held out)``, each in the given order; every class keeps at least one training item.
    """
    groups: dict[str | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair[0].label].append(pair)
    held: set[Pair] = set()
    for group in groups.values():
        held.update(sorted(group, key=_order)[: min(round(share * len(group)), len(group) - 1)])
    return [pair for pair in pairs if pair not in held], [pair for pair in pairs if pair in held]


def sample(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """Keep at most `limit` pairs, chosen by the hash of the name, in the given order."""
    chosen = set(sorted(pairs, key=_order)[:limit]) if len(pairs) > limit else set(pairs)
    return [pair for pair in pairs if pair in chosen]


def likeness(clean: npt.NDArray[np.uint8], protected: npt.NDArray[np.uint8]) -> float | None:
    """Share of protected pictures that resemble their own original more than 80 % of 20 other originals.

    A verdict on pictures that are no versions of the originals (class folders mixed up, noise) would be
    "supported" for a reason that has nothing to do with protection. Resemblance is the best correlation of
    16 x 16 grey thumbnails over shifts of one cell: what exposure, small filters, recompression and dropped
    colour leave. It is never compared with a fixed number, so that collections of similar pictures need no
    setting of their own.

    Measured with CUDA in both modes (``benchmarks/likeness.py``): all protected CIFAR-10 pictures pass
    (99.8 % after 9 x 9 filters), of pictures of another origin 25 % do (30 %); so at a threshold of 0.9 at
    most one picture in seven can be of another origin. The worst case found among photographs, faces, X-rays
    and drawings: 93 % pass (published mode, 9 x 9 filters on 28 pixels).

    Args:
        clean: ``uint8 [N, S, S, C]``.
        protected: The same shape; row i is said to be made of row i.

    Returns:
        The share, or None where fewer than 20 originals can be compared. Left out: constant originals, and
        strangers that look like the original.
    """
    inner = _SIDE - 2
    ours = _unit(_thumbnails(clean)[:, 1:-1, 1:-1].reshape(-1, inner**2))
    strangers = ours[np.random.default_rng(0).permutation(len(ours))[:STRANGERS]]
    won = compared = 0
    for start in range(0, len(ours), _CHUNK):
        own = ours[start : start + _CHUNK]
        theirs = _thumbnails(protected[start : start + _CHUNK])
        shifted = _unit(sliding_window_view(theirs, (inner, inner), (1, 2)).reshape(len(own), -1, inner**2))
        alike = np.einsum("nsd,nd->ns", shifted, own).max(1)
        different = own @ strangers.T < _SAME
        beaten = (alike[:, None] > (shifted @ strangers.T).max(1)) & different
        counted = own.any(1) & different.any(1)
        won += int(np.sum((beaten.sum(1) >= BEATEN * different.sum(1)) & counted))
        compared += int(counted.sum())
    return won / compared if compared >= _FEWEST else None


def _thumbnails(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the mean of the channels (a method may swap or mix them) as ``float32 [N, 16, 16]``."""
    size = (_SIDE, _SIDE)
    small = [cv2.resize(i.mean(2, dtype=np.float32), size, interpolation=cv2.INTER_AREA) for i in images]
    return np.asarray(small, np.float32).reshape(-1, *size)


def _unit(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Remove mean and length of vectors ``[..., D]``; all zero where a vector is constant."""
    centred: npt.NDArray[np.float32] = x - x.mean(-1, keepdims=True)
    centred[centred.std(-1) < _FLAT] = 0
    centred /= np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-6)
    return centred
