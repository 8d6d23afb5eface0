"""Bring scrambled pictures back by the headers in their files, without the run that made them.

Every picture says itself how it was scrambled and with which key; the runner does the rest as for any method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from noli import registry
from noli.core.dataset import Item
from noli.core.environment import available_cores
from noli.core.errors import DataError, NoliError, UsageError, WrongKey
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.core.run import Run
from noli.data.codec import header_in
from noli.data.sources import open_source
from noli.engine.progress import Progress
from noli.engine.request import OPENING, ErrorPolicy, KeyLike, RunRequest, load_method, open_key
from noli.ops.container import Header


class Config(MethodConfig):
    """No options: everything stands in the headers."""


SPEC = Spec(
    name=OPENING,
    family="lock",
    arrow="data->data",
    config=Config,
    card=Card(
        title="Bring scrambled pictures back",
        paper="none",
        stops=(),
        does_not_stop=("Anything: the pictures are as they were.",),
    ),
    needs=frozenset({"key"}),
    reshapes=True,
    module="noli.engine.opening",
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Return an empty state."""
    return {}


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Bring pictures back that all have the same header, which their items carry as text.

    Raises:
        DataError: They have none, or it is damaged or from an unknown method.
        WrongKey: Another key scrambled them.
    """
    header = header_of(items[0], key)
    spec, config = method_of(header)
    told = {**state, **({"nonce": header.nonce} if header.nonce else {})}
    method = load_method(spec.module)
    _check_size(header, batch, items, method.apply, told, key, config)
    restored: Working = method.invert(told, batch, items, key, config, [header.extra] * len(items))
    return restored


def _check_size(
    header: Header, batch: Working, items: Sequence[Item], scrambled: Any, told: State, key: Key, config: Any
) -> None:
    """Refuse a picture that is not of the size which one as its header says would have got."""
    channels, height, width = batch.shape[1:]
    made = None
    # Scrambled pictures are never smaller, so that no header makes this costly.
    if header.height <= height and header.width <= width:
        planes = 1 if told.get("plane") else header.channels
        blank = np.zeros((1, planes, header.height, header.width), np.float32)
        made = scrambled(told, blank, items[:1], key, config).shape[1:]
    if made != batch.shape[1:]:
        raise DataError(
            "The picture and its header do not fit.",
            where=items[0].path,
            why=f"{width} x {height} with {channels} channel(s) is not what {header.width} x {header.height} "
            f"with {header.channels} becomes: the picture was changed since",
            fix="get the file as it was written",
        )


def header_of(item: Item, key: Key) -> Header:
    """Return the header of a scrambled picture, made with a key.

    Raises:
        DataError: It has none, or a damaged one.
        WrongKey: Another key made it.
    """
    if not item.text:
        raise DataError(
            "This picture says nothing about how it was scrambled.",
            why="it has no header: it is not scrambled, or a program dropped the text in the file",
            fix="undo with the run folder (OUT.noli), or --on-error skip",
        )
    header = Header.parse(item.text)
    if header.key_id != key.id:
        raise WrongKey(
            "This is not the key that scrambled the picture.",
            where=item.path,
            why=f"it was made with key {header.key_id}, this is key {key.id}",
            fix="pass the key file that holds it; pictures of several keys go into folders of their own",
        )
    if not header.opens(key):
        raise DataError(
            "The header of a scrambled picture was changed.",
            where=item.path,
            why="its check value does not fit what it says",
            fix="get the file as it was written, or undo with the run folder",
        )
    return header


def method_of(header: Header) -> tuple[Spec, Any]:
    """Return the method that a header names, and its options.

    Raises:
        DataError: There is no such method here, or it does not know these options.
    """
    with suppress(UsageError):
        spec = registry.get(header.method)
        if spec.family == "lock" and spec.reshapes:
            try:
                return spec, spec.config.model_validate(header.config)
            except ValidationError as error:
                why = f"{header.method}: {error.error_count()} option(s) that it does not know"
            raise DataError("The header of a scrambled picture cannot be used.", why=why, fix="update noli")
    why = f"it names the method {header.method}, which scrambles no pictures here"
    raise DataError("The header of a scrambled picture cannot be used.", why=why, fix="update noli")


def first_header(place: str | Path, most: int | None = None) -> Header | None:
    """Return the first header among the pictures of some data, or the first `most`; None where there is none.

    Raises:
        DataError: All headers there are damaged.
    """
    damaged: DataError | None = None
    for name, text in _headers(place, most):
        try:
            return Header.parse(text)
        except DataError as error:
            damaged = damaged or DataError(error.what, where=name, why=error.why, fix=error.fix)
    if damaged:
        raise damaged
    return None


def _headers(place: str | Path, most: int | None) -> Iterator[tuple[str, str]]:
    """Iterate over the names and headers of pictures; what cannot be read is passed over."""
    with suppress(NoliError, OSError):
        source = open_source(place)
        for ref in islice(source.refs(), most):
            with suppress(NoliError, OSError):
                if text := header_in(source.read(ref)):
                    yield ref.path, text


def open_pictures(
    place: str | Path,
    back: str | Path,
    key: KeyLike,
    *,
    header: Header,
    workers: int | None,
    on_error: ErrorPolicy,
    run: str | Path | None,
    progress: Progress | None,
    lossy: bool,
) -> Run:
    """Bring back what :func:`first_header` recognised; parameters and errors are those of ``undo``."""
    from noli.engine.runner import run_data

    if key is None:
        fix = f"pass the key file that holds key {header.key_id}"
        raise UsageError("Undoing needs the key.", fix=fix)
    return run_data(
        RunRequest(
            source=str(place),
            output=str(back),
            spec=SPEC,
            cfg=Config(),
            key=open_key(key, header.key_id),
            workers=workers if workers is not None else available_cores(),
            on_error=on_error,
            run_dir=None if run is None else Path(run),
            lossy=lossy,
            args_passed={"protected": str(place), "back": str(back)},
            progress=progress or Progress(),
        )
    )
