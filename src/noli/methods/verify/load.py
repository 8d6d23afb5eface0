"""Read clean and protected data as they are stored, and bring both to the training size."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from noli.core.dataset import HOW_TO_LABEL, Content, Ref, Source
from noli.core.errors import DataError
from noli.core.images import to_float, to_uint8
from noli.core.interrupts import in_order
from noli.data.codec import upright
from noli.data.sources import open_source
from noli.methods.verify import pairing
from noli.methods.verify.config import Config
from noli.methods.verify.subject import Images, Labels, LearnabilityData
from noli.ops.leak import restore_native

LoadProgress = Callable[[int, int, str], None]
Side = Literal["clean", "protected"]
# Bounds of the automatic size: below, nothing is left of a photograph; above, CPUs need minutes per row.
SMALLEST, LARGEST = 16, 64
_CHUNK = 256


def load(
    protected: Source | str | Path,
    clean: Source | str | Path,
    cfg: Config | None = None,
    *,
    labels: str | None = None,
    made: Mapping[str, str] | None = None,
    progress: LoadProgress | None = None,
) -> LearnabilityData:
    """Read, match, sample, hold out and resize.

    Protected images are read from their stored form, so that whatever the file format cost the protection
    is part of what is judged. Held out is the clean set's ``test`` (or validation) split; without one, a
    share of every class by the hash of the name, and those items leave the protected training data too.

    Args:
        protected: Protected data: place or opened source.
        clean: The originals, with labels.
        cfg: Sizes and limits; None for the default.
        labels: Column with the class, for table layouts.
        made: Protected path -> path of its original, where a run recorded it; tried before the name.
        progress: Called with ``(images read, images in all, "images")``.

    Raises:
        DataError: No labels, no common items, unreadable items (all are listed).
    """
    cfg = cfg or Config()
    left = clean if isinstance(clean, Source) else open_source(clean, labels=labels)
    right = protected if isinstance(protected, Source) else open_source(protected, labels=labels)
    train, test, counts, split = _choose(left, right, cfg, made)
    ours, theirs, held = [c for c, _ in train], [p for _, p in train], [c for c, _ in test]
    cap = LARGEST if cfg.size == "auto" else cfg.size
    sides: tuple[tuple[Side, Source, list[Ref]], ...] = (
        ("clean", left, ours),
        ("protected", right, theirs),
        ("clean", left, held),
    )
    jobs = [(side, source, ref) for side, source, refs in sides for ref in refs]
    images, short_sides = _read(jobs, cap, progress)
    # Not the minimum: one thumbnail must not shrink a collection of photographs.
    typical = int(np.quantile(short_sides, 0.05, method="lower"))
    side = min(max(typical, SMALLEST), LARGEST) if cfg.size == "auto" else cfg.size
    native, channels = max(short_sides), max(image.shape[2] for image in images)
    stacked = np.stack([square(image, side, channels) for image in images])
    clean_x, protected_x, test_x = np.split(stacked, (len(train), 2 * len(train)))
    classes = tuple(sorted({ref.label for ref in (*ours, *held) if ref.label is not None}))
    # A protected item without a label, or with a class name of its own, takes that of the original.
    protected_y = _labels([p if p.label in classes else c for c, p in train], classes)
    restored = partial(
        restore_native,
        lambda row: decoded_upright(left.read(ours[row]), ours[row].path),
        lambda row: decoded_upright(right.read(theirs[row]), theirs[row].path),
        finish=lambda image: square(shrunk(image, cap), side, channels),
    )
    return LearnabilityData(
        clean_x=clean_x,
        protected_x=protected_x,
        clean_y=_labels(ours, classes),
        protected_y=protected_y,
        test_x=test_x,
        test_y=_labels(held, classes),
        classes=classes,
        restored=restored if native > side else None,
        notes=_notes(counts, split, cfg, f"{side} x {side}" if native > side else None),
        counts=counts,
    )


def _choose(
    clean: Source, protected: Source, cfg: Config, made: Mapping[str, str] | None
) -> tuple[list[pairing.Pair], list[pairing.Pair], dict[str, float], str | None]:
    """Return pairs to train on, pairs to test on (only their clean half is read), counts, the test split."""
    refs = list(clean.refs())
    _check_labels(refs, clean.uri)
    matched = pairing.match(refs, list(protected.refs()), made)
    split = pairing.held_out_split(refs)
    pool = [pair for pair in matched.pairs if not pairing.is_held_out(pair[0])]
    if not pool:
        other = next(iter(protected.refs()), None)
        raise DataError(
            "The clean and the protected data have no training items in common.",
            where=f"{clean.uri} and {protected.uri}",
            why=f"matched by path; examples: {refs[0].path} and {other.path if other else '(none)'}",
            fix="name the two roots that noli protect was given",
        )
    if split is None:
        pool, held = pairing.hold_out(pool, cfg.holdout)
    else:
        held = [(ref, ref) for ref in refs if ref.split is not None and ref.split.lower() == split]
    train = pairing.sample(pool, cfg.item_limit)
    counts = {
        "unmatched_clean": sum(not pairing.is_held_out(ref) for ref in matched.clean_only),
        "unmatched_protected": len(matched.protected_only),
        "left_out_by_sampling": len(pool) - len(train),
        "changed_labels": sum(p.label not in (None, c.label) for c, p in train),
    }
    numbers = {name: float(count) for name, count in counts.items()}
    return train, pairing.sample(held, cfg.max_test), numbers, split


def _read(
    jobs: Sequence[tuple[Side, Source, Ref]], cap: int, progress: LoadProgress | None
) -> tuple[list[Images], list[int]]:
    """Read images and shrink each to a short side of at most `cap`; also return the native short sides."""
    images: list[Images] = []
    sides: list[int] = []
    failed: dict[tuple[Side, str], str] = {}

    def decoded(content: Content | DataError, ref: Ref) -> tuple[Images, int] | DataError:
        try:
            if isinstance(content, DataError):
                raise content
            image = decoded_upright(content, ref.path)
        except DataError as error:
            return error
        return shrunk(image, cap), min(image.shape[:2])

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(jobs), _CHUNK):
            chunk = jobs[start : start + _CHUNK]
            # Sources need not be thread-safe: they are read here, only decoding is spread.
            contents = [_content(source, ref) for _, source, ref in chunk]
            calls = (
                partial(decoded, content, ref) for content, (*_, ref) in zip(contents, chunk, strict=True)
            )
            found = in_order(pool, calls, _CHUNK)
            for (side, _, ref), one in zip(chunk, found, strict=True):
                if isinstance(one, DataError):
                    failed[side, ref.path] = one.what
                else:
                    images.append(one[0])
                    sides.append(one[1])
            if progress:
                progress(start + len(chunk), len(jobs), "images")
    if failed:
        (side, path), why = next(iter(failed.items()))
        counts = Counter(side for side, _ in failed)
        raise DataError(
            f"{' and '.join(f'{count} {name}' for name, count in counts.items())} items cannot be read.",
            where=f"{path} ({side})",
            why=why,
            fix="repair or remove them on both sides, then verify again",
            items=dict.fromkeys(path for _, path in failed),
        )
    return images, sides


def _content(source: Source, ref: Ref) -> Content | DataError:
    try:
        return source.read(ref)
    except DataError as error:
        return error


def decoded_upright(content: Content, where: str) -> Images:
    """Return the pixels of a stored item as a viewer shows them: ``uint8 [H, W, C]``, C in {1, 3}."""
    # Protecting with stripped metadata turns the pixels instead of the tag.
    pixels = upright(content, where)
    return pixels if pixels.dtype == np.uint8 else to_uint8(to_float(pixels[None]))[0]


def _resized(image: Images, short: int) -> Images:
    """Bring the short side of ``[H, W, C]`` to `short` pixels, keeping the aspect."""
    height, width = image.shape[:2]
    scale = short / min(height, width)
    if scale == 1:
        return image
    size = (max(short, round(width * scale)), max(short, round(height * scale)))
    out = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(out, image.dtype).reshape(size[1], size[0], -1)


def shrunk(image: Images, cap: int) -> Images:
    """Bring an image ``[H, W, C]`` to a short side of at most `cap` pixels; smaller ones stay."""
    return _resized(image, min(cap, *image.shape[:2]))


def square(image: Images, side: int, channels: int) -> Images:
    """Make an image ``[side, side, channels]``: short side to `side`, centre crop, grey to RGB if needed."""
    image = _resized(image, side)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return square if square.shape[2] == channels else np.repeat(square, channels, axis=2)


def _labels(refs: Sequence[Ref], classes: Sequence[str]) -> Labels:
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[str(ref.label)] for ref in refs], np.int64)


def _check_labels(refs: Sequence[Ref], uri: str) -> None:
    if not refs:
        raise DataError("The clean data set is empty.", where=uri)
    missing = [ref.path for ref in refs if ref.label is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(refs)} clean items have no label; learnability needs labels.",
            where=missing[0],
            fix=HOW_TO_LABEL,
            items=missing,
        )


def _notes(counts: dict[str, float], split: str | None, cfg: Config, reduced: str | None) -> tuple[str, ...]:
    n = {name: f"{count:.0f}" for name, count in counts.items()}
    held = f"{100 * cfg.holdout:.0f} % of every class by the hash of the name (no test split)"
    notes = [f"Held out: {held}." if split is None else f"Held out: the clean data's split {split!r}."]
    if counts["unmatched_clean"] or counts["unmatched_protected"]:
        notes.append(
            f"{n['unmatched_clean']} clean and {n['unmatched_protected']} protected items had no partner of "
            "the same name and were left out."
        )
    if counts["left_out_by_sampling"]:
        notes.append(f"{n['left_out_by_sampling']} training items beyond the limit were left out.")
    if counts["changed_labels"]:
        notes.append(f"{n['changed_labels']} protected items carry another label than their original.")
    if reduced:
        notes.append(f"Images were reduced to {reduced} pixels for training (centre square).")
    return tuple(notes)
