"""Read clean and protected data as they are stored, and bring both to the training size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noli.core.dataset import HOW_TO_LABEL, Ref, Source
from noli.core.errors import DataError
from noli.core.images import to_float, to_uint8
from noli.data import exif
from noli.data.codec import decode
from noli.data.picture import from_array
from noli.data.sources import open_source
from noli.methods.verify import native_leak, pairing
from noli.methods.verify.config import Config
from noli.methods.verify.subject import Images, LearnabilityData

Pixels = npt.NDArray[np.uint8]
LoadProgress = Callable[[int, int, str], None]
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
        progress: Called with ``(images read, images in all, what is read)``.

    Raises:
        DataError: No labels, no common items, unreadable items (all are listed).
    """
    cfg = cfg or Config()
    left = clean if isinstance(clean, Source) else open_source(clean, labels=labels)
    right = protected if isinstance(protected, Source) else open_source(protected, labels=labels)
    chosen = _choose(left, right, cfg, made or {})
    train, test = chosen.train, chosen.test
    reader = _Reader(cfg, 2 * len(train) + len(test), progress)
    parts = {
        "clean": reader.shrunk(left, [c for c, _ in train], "clean images"),
        "protected": reader.shrunk(right, [p for _, p in train], "protected images"),
        "test": reader.shrunk(left, [c for c, _ in test], "held-out images"),
    }
    reader.raise_errors()
    side = reader.side()
    channels = max((p.shape[2] for images in parts.values() for p in images), default=1)
    stacked = {name: _stack(images, side, channels) for name, images in parts.items()}
    classes = tuple(sorted({c.label for c, _ in (*train, *test) if c.label is not None}))
    clean_y = _labels([c.label for c, _ in train], classes)
    # A protected set without labels, or with names of its own, takes those of the originals.
    protected_y = _labels([p.label if p.label in classes else c.label for c, p in train], classes)
    restored = None
    if reader.native_side > side:
        restored = native_leak.restore(
            lambda ref: _decode(left.read(ref), ref.path),
            lambda ref: _decode(right.read(ref), ref.path),
            train,
            protected_y,
            cfg.leak_pairs,
            lambda pixels: _fit(_shrink(pixels, reader.cap), side, channels),
        )
    counts = {**chosen.counts, "changed_labels": float(np.sum(clean_y != protected_y))}
    return LearnabilityData(
        clean_x=stacked["clean"],
        protected_x=stacked["protected"],
        clean_y=clean_y,
        protected_y=protected_y,
        test_x=stacked["test"],
        test_y=_labels([c.label for c, _ in test], classes),
        classes=classes,
        restored_x=restored,
        notes=_notes(counts, chosen.split, cfg, reader.native_side, side),
        counts=counts,
    )


@dataclass(frozen=True)
class _Chosen:
    """Pairs to train on, pairs to test on (only their clean half is read), and what was left out."""

    train: list[pairing.Pair]
    test: list[pairing.Pair]
    split: str | None
    counts: dict[str, float]


def _choose(clean: Source, protected: Source, cfg: Config, made: Mapping[str, str]) -> _Chosen:
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
        "unmatched_clean": float(sum(not pairing.is_held_out(ref) for ref in matched.clean_only)),
        "unmatched_protected": float(len(matched.protected_only)),
        "left_out_by_sampling": float(len(pool) - len(train)),
    }
    return _Chosen(train, pairing.sample(held, cfg.max_test), split, counts)


class _Reader:
    """Reads in the calling thread (sources need not be thread-safe) and decodes in a small pool."""

    def __init__(self, cfg: Config, total: int, progress: LoadProgress | None) -> None:
        self.cfg, self.total, self.progress = cfg, total, progress
        self.cap = LARGEST if cfg.size == "auto" else cfg.size
        self.done = 0
        self.short_sides: list[int] = []
        self.failed: dict[str, str] = {}

    def shrunk(self, source: Source, refs: Sequence[Ref], what: str) -> list[Pixels]:
        """Read images and shrink each to a short side of at most the largest training size."""
        out: list[Pixels] = []
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for start in range(0, len(refs), _CHUNK):
                chunk = refs[start : start + _CHUNK]
                out.extend(pool.map(self._shrunk, list(self._contents(source, chunk)), chunk))
                self.done += len(chunk)
                if self.progress:
                    self.progress(self.done, self.total, what)
        return out

    def _contents(self, source: Source, refs: Sequence[Ref]) -> Iterator[bytes | npt.NDArray[np.uint8]]:
        for ref in refs:
            try:
                yield source.read(ref)
            except DataError as error:
                self.failed[ref.path] = error.what
                yield b""

    def _shrunk(self, content: bytes | npt.NDArray[np.uint8], ref: Ref) -> Pixels:
        if ref.path not in self.failed:
            try:
                pixels = _decode(content, ref.path)
                self.short_sides.append(min(pixels.shape[:2]))
                return _shrink(pixels, self.cap)
            except DataError as error:
                self.failed[ref.path] = error.what
        return np.zeros((1, 1, 1), np.uint8)

    def raise_errors(self) -> None:
        """Raise one error that lists every unreadable item."""
        if self.failed:
            name, why = next(iter(self.failed.items()))
            raise DataError(
                f"{len(self.failed)} items cannot be read.",
                where=name,
                why=why,
                fix="repair or remove them on both sides, then verify again",
                items=self.failed,
            )

    def side(self) -> int:
        """The training size: as configured, or the native short side within the automatic bounds."""
        if self.cfg.size != "auto":
            return self.cfg.size
        # Not the minimum: one thumbnail must not shrink a collection of photographs.
        typical = int(np.quantile(self.short_sides, 0.05, method="lower"))
        return min(max(typical, SMALLEST), LARGEST)

    @property
    def native_side(self) -> int:
        """Largest native short side that was met."""
        return max(self.short_sides)


def _decode(content: bytes | npt.NDArray[np.uint8], where: str) -> Pixels:
    if isinstance(content, np.ndarray):
        array = content[..., None] if content.ndim == 2 else content
        pixels = from_array(array, where=where).pixels
    else:
        picture = decode(content, where=where)
        # As a viewer shows it: protecting with stripped metadata turns the pixels instead of the tag.
        pixels = exif.upright(picture.pixels, exif.orientation(picture.exif))
    return pixels if pixels.dtype == np.uint8 else to_uint8(to_float(pixels[None]))[0]


def _shrink(pixels: Pixels, cap: int) -> Pixels:
    import cv2

    height, width = pixels.shape[:2]
    scale = cap / min(height, width)
    if scale >= 1:
        return pixels
    target = (max(cap, round(width * scale)), max(cap, round(height * scale)))
    small = cv2.resize(pixels, target, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(target[1], target[0], -1)


def _fit(pixels: Pixels, side: int, channels: int) -> Pixels:
    """Make an image ``[side, side, channels]``: short side to `side`, centre crop, grey to RGB if needed."""
    import cv2

    pixels = _shrink(pixels, side)
    height, width = pixels.shape[:2]
    if min(height, width) < side:
        scale = side / min(height, width)
        target = (max(side, round(width * scale)), max(side, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR), np.uint8)
        pixels = pixels.reshape(target[1], target[0], -1)
        width, height = target
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return square if square.shape[2] == channels else np.repeat(square, channels, axis=2)


def _stack(parts: Sequence[Pixels], side: int, channels: int) -> Images:
    out = np.empty((len(parts), side, side, channels), np.uint8)
    for row, pixels in zip(out, parts, strict=True):
        row[:] = _fit(pixels, side, channels)
    return out


def _labels(names: Sequence[str | None], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in names if name is not None], np.int64)


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


def _notes(
    counts: dict[str, float], split: str | None, cfg: Config, native: int, side: int
) -> tuple[str, ...]:
    notes = []
    if split is None:
        notes.append(
            f"Held out: {100 * cfg.holdout:.0f} % of every class by the hash of the name (no test split)."
        )
    else:
        notes.append(f"Held out: the clean data's split {split!r}.")
    if counts["unmatched_clean"] or counts["unmatched_protected"]:
        notes.append(
            f"{counts['unmatched_clean']:.0f} clean and {counts['unmatched_protected']:.0f} protected items "
            "had no partner of the same name and were left out."
        )
    if counts["left_out_by_sampling"]:
        notes.append(f"{counts['left_out_by_sampling']:.0f} training items beyond the limit were left out.")
    if counts["changed_labels"]:
        notes.append(
            f"{counts['changed_labels']:.0f} protected items carry another label than their original."
        )
    if native > side:
        notes.append(f"Images were reduced to {side} x {side} pixels for training (centre square).")
    return tuple(notes)
