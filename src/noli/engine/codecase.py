"""Gather what an audit of codes needs: codes beside the pictures they were made from, and public pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError

from noli import registry
from noli.core import foreign
from noli.core.audit import Has
from noli.core.dataset import Item, content_id
from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.method import CodesMethod, MethodConfig, Spec
from noli.core.run import Run
from noli.data.codec import upright
from noli.data.place import is_url
from noli.data.sources import open_source
from noli.data.study import square
from noli.engine.auditing import Images, public_pictures, stem_of
from noli.engine.codes import SUMMARY
from noli.engine.request import load_method, run_folder
from noli.engine.undo import output_of
from noli.ops.decipher.suite import Found

Codes = npt.NDArray[np.float16]
Arrays = dict[str, npt.NDArray[Any]]
# What attackers encode with: not the owner's, and public, so that an audit says the same every time.
OTHER_KEY = Key.from_bytes(hashlib.sha256(b"noli: an attacker's own key").digest())
_AGAIN = "put the file back, or remove it and run the same noli lock command again"


@dataclass(frozen=True)
class CodeCase:
    """What is attacked.

    Attributes:
        spec, cfg: How the codes were made.
        codes: ``float16 [N, ...]``.
        labels: Labels of the codes as published, ``[N, ...]``; None: there are none.
        originals: ``uint8 [N, S, S, C]``, the pictures of these codes as they were encoded.
        public: ``uint8 [M, S, S, C]``, other pictures.
        total: How many pictures the whole set has, N or more.
        encode: Encodes ``uint8 [n, S, S, C]``, all of one class, under a key with options.
    """

    spec: Spec
    cfg: MethodConfig
    codes: Codes
    labels: npt.NDArray[Any] | None
    originals: Images
    public: Images
    total: int
    encode: Callable[[Images, Key, MethodConfig], Arrays]


class Answer(NamedTuple):
    """What an attack says that matches codes and pictures.

    Attributes:
        said: ``int64 [n]``: the code that each picture is given.
        true: ``int64 [n]``: the code that it has.
    """

    said: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CodeAttack:
    """One attack on codes.

    Attributes:
        name, about: What it is called, and what it does in plain words.
        has: What the attacker has beside the codes.
        run: Does it: matches codes and pictures, or brings pictures back.
        note: What has to be known to read its figures; a function where the attack itself tells it.
    """

    name: str
    about: str
    has: Has
    run: Callable[[], Answer | Found]
    note: str | Callable[[], str] = ""


@dataclass(frozen=True)
class GivenPictures:
    """Pictures in memory, for methods of the arrow ``data->codes``; all of one class.

    Attributes:
        images: ``uint8 [N, S, S, C]``.
        public: Public pictures to mix in, or None.
    """

    images: Images
    public: GivenPictures | None = None

    @property
    def items(self) -> Sequence[Item]:
        """Every picture under its number: the same one twice has codes of its own."""
        ids = (content_id(image.tobytes())[0] for image in self.images)
        return [Item(f"{one}-{number}", str(number)) for number, one in enumerate(ids)]

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.images.shape[3])

    @property
    def classes(self) -> tuple[str, ...]:
        """A single one."""
        return ("all",)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Zeros."""
        return np.zeros(len(self.images), np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Images:
        found: Images = self.images[number]
        return found


def codes_run(place: str | Path) -> Run | None:
    """Return the run that made codes at a place, or whose folder it is; None where none did.

    Raises:
        UsageError: Codes lie there, and nothing says how they were made.
    """
    text = str(place)
    if is_url(text):
        return None
    folder = Path(text) if Run.exists(text) else run_folder(text)
    if Run.exists(folder):
        run = Run.open(folder)
        name = str(run.manifest.method)
        known = name in registry.names() and registry.get(name).arrow == "data->codes"
        return run if known else None
    if (Path(text) / SUMMARY).exists():
        raise UsageError(
            "Nothing says how these codes were made.",
            where=text,
            why=f"{folder} holds no run",
            fix="put the run folder back beside the codes",
        )
    return None


def gather_codes(run: Run, clean: str, public: str | None, most: int) -> CodeCase:
    """Read codes of a run and the pictures they were made from, at most `most`, evenly from all of them.

    Args:
        run: See :func:`codes_run`.
        clean: The pictures, with the same names.
        public: Other pictures of the kind; None: photographs that come along.
        most: Most pictures.

    Raises:
        UsageError: The run is not finished.
        DataError: A picture, a shard or ``codes.json`` is gone, damaged or was changed; the run keeps no
            digests of its pictures; or no public picture is left.
    """
    spec = registry.get(str(run.manifest.method))
    cfg: Any = spec.config.model_validate(run.manifest.args_resolved["config"])
    if run.manifest.status != "done":
        fix = "run the same noli lock command again: it resumes"
        raise UsageError("These codes are not complete.", where=str(run.path), fix=fix)
    known = {
        str(row["path"]): str(row.get("sha256_in", "")) for row in run.iter_records() if "error" not in row
    }
    names = list(known)
    chosen = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).astype(int))
    found = _read(
        Path(output_of(run)), chosen, run.manifest.results.get("files", {}).get(SUMMARY), len(names)
    )
    read = _pictures(run, clean, {names[n]: known[names[n]] for n in chosen})
    channels = max(image.shape[2] for image in read)
    originals = np.stack([square(image, cfg.side, channels) for image in read])
    others = public_pictures(public, originals.shape[1:], list(originals))
    others = np.stack([square(image, cfg.side, channels) for image in others])
    method: CodesMethod = load_method(spec.module)  # type: ignore[assignment]

    def encode(images: Images, key: Key, how: MethodConfig) -> Arrays:
        mixed = GivenPictures(others) if getattr(how, "public", None) else None
        pictures = GivenPictures(images, mixed)
        return method.coder(pictures, key, how)(pictures, range(len(images)))

    labels = found.get("labels")
    return CodeCase(spec, cfg, found["codes"], labels, originals, others, len(names), encode)


def _pictures(run: Run, clean: str, known: dict[str, str]) -> list[Images]:
    """Return the pictures of these names, upright, each with the digest that the run keeps of it."""
    if not all(known.values()):
        why, fix = "it was made by an older noli", "encode the pictures again into a new output"
        raise DataError("The run keeps no digests of its pictures.", where=str(run.path), why=why, fix=fix)
    source, fix = open_source(clean), "name the pictures that were encoded"
    all_refs = list(source.refs())
    refs = {stem_of(ref.path): ref for ref in all_refs} | {ref.path: ref for ref in all_refs}
    places = {name: name if name in refs else stem_of(name) for name in known}
    missing = [name for name, place in places.items() if place not in refs]
    if missing:
        why = f"{missing[0]} and {len(missing) - 1:,} more"
        raise DataError("Codes have no picture there.", where=clean, why=why, fix=fix, items=missing)
    read, changed = [], []
    for name, place in places.items():
        content = source.read(ref := refs[place])
        if content_id(content)[1] == known[name]:
            read.append(upright(content, ref.path))
        else:
            changed.append(ref.path)
    if changed:
        why = f"{changed[0]} and {len(changed) - 1:,} more have other bytes than when they were encoded"
        raise DataError(
            "Pictures are not those that were encoded.", where=clean, why=why, fix=fix, items=changed
        )
    return read


class _Shard(BaseModel):
    file: str = Field(pattern=r"^codes-\d+\.safetensors$")
    items: int = Field(ge=1)
    sha256: str


class _Summary(BaseModel):
    shards: list[_Shard] = Field(min_length=1)


def _read(place: Path, chosen: npt.NDArray[np.int64], known: str | None, count: int) -> Arrays:
    """Return the codes and labels of some pictures, whose numbers ascend.

    Args:
        place: The folder of codes.
        chosen: The numbers.
        known: SHA-256 of ``codes.json`` as the run keeps it; None: it keeps none.
        count: How many pictures the run encoded.
    """
    parts, start = [], 0
    for shard in _summary(place / SUMMARY, known, count).shards:
        rows = chosen[(chosen >= start) & (chosen < start + shard.items)] - start
        if len(rows):
            arrays = _arrays(place / shard.file, shard)
            parts.append({name: array[rows] for name, array in arrays.items()})
        start += shard.items
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _summary(file: Path, known: str | None, count: int) -> _Summary:
    content = _bytes(file, "The codes are gone.")
    try:
        found = _Summary.model_validate(foreign.loads(content))
    except ValueError as error:
        why = "it lists no shards" if isinstance(error, ValidationError) else str(error)
        raise DataError("The list of codes is damaged.", where=str(file), why=why, fix=_AGAIN) from error
    listed = sum(shard.items for shard in found.shards)
    if listed != count or (known is not None and hashlib.sha256(content).hexdigest() != known):
        why = f"it lists {listed:,} codes" if listed != count else "its SHA-256 is not the one in the run"
        raise DataError("The list of codes was changed.", where=str(file), why=why, fix=_AGAIN)
    return found


def _arrays(file: Path, shard: _Shard) -> Arrays:
    content = _bytes(file, "A shard of codes is gone.")
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        why = f"its SHA-256 is not the one in {SUMMARY}"
        raise DataError("A shard of codes was changed.", where=str(file), why=why, fix=_AGAIN)
    try:
        arrays: Arrays = safetensors.numpy.load(content)
        if "codes" not in arrays or any(array.shape[:1] != (shard.items,) for array in arrays.values()):
            raise ValueError(f"it does not hold {shard.items:,} codes")
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            "A shard of codes is damaged.", where=str(file), why=str(error), fix=_AGAIN
        ) from error
    return arrays


def _bytes(file: Path, gone: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(gone, where=str(file), why=str(error.strerror), fix=_AGAIN) from error
