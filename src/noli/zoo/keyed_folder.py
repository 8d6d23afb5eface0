"""Keyed models in a folder: a body, a file per pair, a manifest; no key, no permutation, no pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from safetensors import SafetensorError
from safetensors import torch as safe_torch
from torch import Tensor, nn

from noli import zoo
from noli.core.digested import Digested
from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.files import atomic_write, refuse_existing
from noli.core.key import Key
from noli.core.model import DESCRIBED, Model
from noli.zoo.base import seeded
from noli.zoo.keyed import KeyedModel, Pair, Pick, described, isotropic_parts

MANIFEST, BODY, PAIR = "keyed.json", "body.safetensors", "pair-{:02d}.safetensors"


def save_keyed(model: KeyedModel, path: str | Path) -> None:
    """Write weights, then a manifest, into a folder; neither keys nor permutations are in it.

    Raises:
        OutputExists: It holds a keyed model.
        RunError: The place cannot be written.
    """
    folder, pairs = Path(path), model.pairs
    refuse_existing(folder / MANIFEST)
    parts = [model.net.body.net, *pairs]
    files = [safe_torch.save({k: v.cpu().contiguous() for k, v in p.state_dict().items()}) for p in parts]
    body, *sums = [hashlib.sha256(data).hexdigest() for data in files]
    named = [
        Stored(number=pair.number, key_id=pair.key_id, check_value=pair.check_value, sha256=digest)
        for pair, digest in zip(pairs, sums, strict=True)
    ]
    size = {"patch": pairs[0].patch, "channels": pairs[0].channels}
    manifest = Manifest(**described(model), **size, body=body, pairs=named).rendered()
    for name, data in zip([BODY, *map(PAIR.format, range(len(pairs)))], files, strict=True):
        atomic_write(folder / name, data)
    atomic_write(folder / MANIFEST, manifest)


def load_keyed(
    folder: str | Path, keys: Key | str | Path | Sequence[Key], *, pick: Pick = "random", samples: int = 0
) -> KeyedModel:
    """Read what :func:`save_keyed` wrote.

    Args:
        folder: The folder.
        keys: The keys of all pairs, in any order, or the path of a key file without a passphrase.
        pick: See :class:`KeyedModel`.
        samples: See :class:`KeyedModel`.

    Raises:
        WrongKey: The key of a pair is not among them; noticed before any weights are read.
        DataError: Missing, damaged or foreign files.
        UsageError: More samples than pairs.
    """
    keys = Key.load(keys) if isinstance(keys, str | Path) else keys
    folder, keys = Path(folder), [keys] if isinstance(keys, Key) else list(keys)
    facts = read_manifest(folder)
    known = {(key.id, key.check_value): key for key in keys}
    if missing := [one.key_id for one in facts.pairs if (one.key_id, one.check_value) not in known]:
        fix = f"give the key with id {missing[0]}"
        raise WrongKey("None of the keys is the one of a pair.", where=str(folder), fix=fix)
    with _fitting(folder):
        plain = _with_body(folder, facts)
        embed, _, head = isotropic_parts(plain)
        pairs = []
        for i, one in enumerate(facts.pairs):
            pairs.append(Pair(embed, head, known[one.key_id, one.check_value], one.number))
            pairs[i].load_state_dict(read_weights(folder / PAIR.format(i), one.sha256))
    return KeyedModel(plain, pairs, pick=pick, samples=samples)


def load_bare(folder: str | Path, pair: int = 0) -> Model:
    """Read the body and one pair as a plain model, which takes patches as they come; no key is needed.

    It answers as the pair does for pictures whose patches are permuted already, see
    :func:`noli.zoo.keyed.permuted`. It is what a thief of the folder has (`stolen` of
    :mod:`noli.zoo.keyed_folding`).

    Args:
        folder: The folder.
        pair: Which pair, counted from 0.

    Raises:
        DataError: Missing, damaged or foreign files.
        UsageError: There is no such pair.
    """
    folder = Path(folder)
    facts = read_manifest(folder)
    one = facts.pair(pair, folder)
    with _fitting(folder):
        plain = _with_body(folder, facts)
        embed, _, head = isotropic_parts(plain)
        own = nn.ModuleDict({"embed": embed, "head": head})
        own.load_state_dict(read_weights(folder / PAIR.format(pair), one.sha256))
    return plain.eval()


def _with_body(folder: Path, facts: Manifest) -> Model:
    """Return the network that the manifest names, with the folder's body; embedding and head are as drawn."""
    with seeded(0):
        net = zoo.build(facts.arch, facts.arch_args)
    plain = Model(net, **{name: getattr(facts, name) for name in DESCRIBED})
    embed, blocks, _ = isotropic_parts(plain)
    if (embed.kernel_size[0], embed.in_channels) != (facts.patch, facts.channels):
        raise ValueError("it has other patches")
    blocks.load_state_dict(read_weights(folder / BODY, facts.body))
    return plain


@contextmanager
def _fitting(folder: Path) -> Iterator[None]:
    """Turn what foreign facts and weights do to a network into a DataError."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, KeyError, UsageError, SafetensorError) as error:
        what, why = "The weights do not fit the network they name.", str(error).partition("\n")[0]
        raise DataError(what, where=str(folder), why=why) from error


class Stored(BaseModel):
    """A pair: which permutation of which key, and the SHA-256 of its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: int = Field(ge=0)
    key_id: str
    check_value: str
    sha256: str


class Manifest(Digested):
    """What lies in a folder; `body` is the SHA-256 of its weights."""

    format: Literal["noli-keyed"] = "noli-keyed"
    version: Literal[1] = 1
    arch: str
    arch_args: dict[str, Any]
    mean: list[FiniteFloat]
    std: list[FiniteFloat]
    class_names: list[str]
    patch: int
    channels: int
    order: Literal["row, column, channel"] = "row, column, channel"
    body: str
    pairs: list[Stored] = Field(min_length=1)

    def pair(self, number: int | None, where: str | Path) -> Stored:
        """Return a pair, counted from 0; for None the only one. `where` is the folder, for errors.

        Raises:
            UsageError: There is no such pair, or there are several and none is named.
        """
        count = len(self.pairs)
        if 0 <= (number or 0) < count and (number is not None or count == 1):
            return self.pairs[number or 0]
        what = "The model has several pairs." if number is None else f"There is no pair {number}."
        why = "it has " + ", ".join(f"{i} (key {one.key_id})" for i, one in enumerate(self.pairs))
        raise UsageError(what, where=str(where), why=why, fix="name one of them: pair=0, or --pair 0")


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder says of itself, without a key and without weights.

    Raises:
        DataError: It is no whole keyed model of this version.
    """
    return Manifest.read(folder / MANIFEST, "keyed model")


def read_weights(file: Path, sha256: str) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file that a manifest names.

    Raises:
        DataError: It is missing or another one.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        what, fix = "A file of the keyed model cannot be read.", "name the folder of a whole one"
        raise DataError(what, where=str(file), why=str(error.strerror), fix=fix) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        what, fix = "The file is not the one that the manifest names.", "take a whole copy of the folder"
        raise DataError(what, where=str(file), fix=fix)
    return safe_torch.load(data)
