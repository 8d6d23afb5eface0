"""Gather what an audit needs: scrambled pictures beside their originals, and public ones, in arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noli import registry
from noli.core.dataset import Source
from noli.core.errors import DataError, UsageError
from noli.core.method import MethodConfig, Spec
from noli.core.run import Run
from noli.data.codec import upright
from noli.data.demo import PHOTOS, photo_folder
from noli.data.sources import open_source
from noli.data.study import square
from noli.engine.lockedmodels import kind_of
from noli.engine.opening import first_header, method_of
from noli.engine.request import run_folder
from noli.engine.undo import find_run, has_run, refuse_missing
from noli.ops.schemes import SchemeName

Images = npt.NDArray[np.uint8]
PUBLIC_SIDE = 256
MOST_PUBLIC = 200
PEEKED = 20
SAME = 4.0  # levels, on average over a thumbnail: the same picture at another size


@dataclass(frozen=True)
class Case:
    """What is attacked.

    Attributes:
        spec, cfg: How the pictures were scrambled.
        scrambled: ``uint8 [N, H, W, C]``, as stored, whole blocks.
        originals: ``uint8 [N, h, w, c]``, the same pictures before.
        public: ``uint8 [M, S, S, c]``, other pictures.
    """

    spec: Spec
    cfg: MethodConfig
    scrambled: Images
    originals: Images
    public: Images


def gather(place: str, clean: str, public: str | None, most: int, most_public: int = MOST_PUBLIC) -> Case:
    """Read scrambled pictures and their originals, at most `most`, of the size that is most frequent.

    Args:
        place: Scrambled pictures, or their run folder.
        clean: The originals; they have the same names, but for the suffix.
        public: Other pictures of the kind; None: photographs that come along.
        most: Most pictures.
        most_public: Most public pictures.

    Raises:
        UsageError: The pictures are not scrambled by noli.
        DataError: No originals, none of 8 bits, or a public picture that is an original.
    """
    spec, cfg, where = _how(place)
    pairs = list(_pairs(open_source(where), open_source(clean)))
    if not pairs:
        fix = "name the originals with --clean: the same names, but for the suffix"
        raise DataError("No scrambled picture has its original there.", where=clean, fix=fix)
    shapes = Counter((before.shape, after.shape) for before, after in pairs)
    chosen = shapes.most_common(1)[0][0]
    kept = [pair for pair in pairs if (pair[0].shape, pair[1].shape) == chosen][:most]
    originals, scrambled = (np.stack([pair[side] for pair in kept]) for side in (0, 1))
    others = public_pictures(public, chosen[0], [before for before, _ in pairs], most_public)
    return Case(spec, cfg, scrambled, originals, others)


def _how(place: str) -> tuple[Spec, MethodConfig, str]:
    refuse_missing(place)
    if has_run(place):
        run, where = find_run(place)
        spec = registry.get(str(run.manifest.method))
        if is_lock(spec):
            return spec, spec.config.model_validate(run.manifest.args_resolved["config"]), where
    elif header := first_header(place):
        spec, cfg = method_of(header)
        return spec, cfg, place
    fix = "name pictures that noli lock has scrambled, or their run folder"
    raise UsageError("These pictures are not scrambled by noli.", where=place, fix=fix)


def scheme_of(spec: Spec, cfg: MethodConfig) -> tuple[SchemeName, int]:
    """Return the scheme of a method that scrambles pictures, and the side of its blocks."""
    options: Any = cfg
    short: Any = spec.name.split("/")[1]
    return (options.kind if short == "shuffle" else short), int(getattr(options, "block", 1))


def is_lock(spec: Spec) -> bool:
    """Tell whether a method scrambles pictures."""
    return spec.family == "lock" and spec.arrow == "data->data"


def scrambled_here(place: str | Path) -> bool:
    """Tell whether pictures are scrambled or encoded, by their run or by the header in their files."""
    text = str(place)
    if has_run(text):
        run = Run.open(text if Run.exists(text) else run_folder(text))
        return str(run.manifest.method).startswith("lock/")
    # Most data is not scrambled, and need not be read for this question.
    return first_header(text, PEEKED) is not None


def refuse_locked(place: str | Path, only: str | None = None) -> None:
    """Raise UsageError for what a lock has made; `only` names the one attack that was asked for."""
    model = kind_of(place)
    if model is None and not scrambled_here(place):
        return
    what = "A locked model is" if model else "Scrambled pictures are"
    call = "noli.audit_model with its key" if model else "noli.audit, or noli lock audit"
    if only is not None:
        call = f"{'noli.audit_model' if model else 'noli.audit'} with only={only!r}"
    raise UsageError(f"{what} attacked, not trained on.", where=str(place), fix=f"call {call}")


def _pairs(scrambled: Source, clean: Source) -> Iterator[tuple[Images, Images]]:
    refs = {stem_of(ref.path): ref for ref in clean.refs()}
    for ref in scrambled.refs():
        other = refs.get(stem_of(ref.path))
        if other is not None:
            before = upright(clean.read(other), other.path)
            after = upright(scrambled.read(ref), ref.path)
            if before.dtype == after.dtype == np.uint8:
                yield before, after


def stem_of(path: str) -> str:
    """Return a path without the suffix of its file, by which pictures are found again in another format."""
    folder, slash, base = path.rpartition("/")
    return folder + slash + base.split(".")[0]


def public_pictures(
    place: str | None, shape: tuple[int, ...], originals: Sequence[Images], most: int = MOST_PUBLIC
) -> Images:
    """Return public pictures as squares about as large as those that are attacked, and none of these."""
    side, channels = min(max(shape[:2]), PUBLIC_SIDE), shape[2]
    known = np.stack([_thumbnail(image) for image in originals])
    found = []
    for pixels in _photos() if place is None else _all_of(open_source(place), most):
        if _is_among(pixels, known):
            continue
        short = min(pixels.shape[:2])
        if short >= side and pixels.shape[2] in (1, channels) and pixels.dtype == np.uint8:
            found.append(square(pixels[:short, :short], side, channels))
        elif short >= side and channels == 1:
            grey = pixels.astype(np.float32).mean(axis=2, keepdims=True)
            found.append(square((grey + 0.5).astype(np.uint8)[:short, :short], side, 1))
    if not found:
        why = f"no picture of 8 bits with sides of {side} pixels that is none of the originals"
        raise DataError("There are no public pictures to learn from.", where=str(place), why=why)
    return np.stack(found)


def _thumbnail(image: Images) -> npt.NDArray[np.float32]:
    """Return a picture in grey, 16 x 16, by which it is known again at another size."""
    small: npt.NDArray[np.float32] = square(image, 16, image.shape[2]).astype(np.float32).mean(axis=2)
    return small


def _is_among(pixels: Images, known: npt.NDArray[np.float32]) -> bool:
    """Tell whether a picture, or the square at its corner, is one of those known by their thumbnails."""
    short = min(pixels.shape[:2])
    seen = [_thumbnail(pixels), _thumbnail(pixels[:short, :short])]
    return any(float(np.abs(known - one).mean((1, 2)).min()) < SAME for one in seen)


def _photos() -> Iterator[Images]:
    for name in PHOTOS:
        file = photo_folder() / name
        if file.exists():
            yield upright(file.read_bytes(), name)


def _all_of(source: Source, most: int) -> Iterator[Images]:
    for ref in islice(source.refs(), most):
        yield upright(source.read(ref), ref.path)
