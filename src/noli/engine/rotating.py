"""Give scrambled pictures another key, by the headers in their files.

Two scramblings are joined into one (:func:`noli.ops.scramble.then`), so that the plain pictures are never
made, neither in memory nor on disk; only for schemes with a table of values (FFX) they are for a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noli.core.dataset import Item
from noli.core.environment import available_cores
from noli.core.errors import UsageError
from noli.core.images import Working, to_float
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.core.run import Run
from noli.engine.opening import header_of, method_of
from noli.engine.progress import Progress
from noli.engine.request import FORMER, ROTATION, ErrorPolicy, RunRequest, load_method
from noli.engine.runner import run_data
from noli.ops.scramble import inverse, scramble, then, unscramble
from noli.ops.sealing import as_stored, folded, nonce


class Config(MethodConfig):
    """No options: everything stands in the headers."""


SPEC = Spec(
    name=ROTATION,
    family="lock",
    arrow="data->data",
    config=Config,
    card=Card(
        title="Another key for scrambled pictures",
        paper="none",
        stops=("Whoever has the former key only.",),
        does_not_stop=("Whoever kept the pictures under the former key, and that key.",),
    ),
    needs=frozenset({"key"}),
    reshapes=True,
    module="noli.engine.rotating",
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Return an empty state."""
    return {}


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Turn pictures that all have the same header from the former key, in the state, to another.

    Raises:
        DataError: They have no header, or it is damaged or from an unknown method.
        WrongKey: Another key than the former one scrambled them.
    """
    former: Key = state[FORMER]
    header = header_of(items[0], former)
    spec, config = method_of(header)
    stored, plane = as_stored(batch, state), str(state.get("plane", ""))
    fold = load_method(spec.module).fold  # type: ignore[attr-defined]
    fresh = nonce(spec.name, key, items[0]) if header.nonce else None
    before, after = (
        folded(spec.name, fold, by, config, stored.shape[1:], plane, own)
        for by, own in ((former, header.nonce), (key, fresh))
    )
    if before.table is None and after.table is None:
        return to_float(scramble(stored, then(inverse(before), after)))
    return to_float(scramble(unscramble(stored, before), after))


def rotate_pictures(
    place: str,
    output: str,
    key: Key,
    former: Key,
    *,
    workers: int | None = None,
    on_error: ErrorPolicy = "fail",
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Write scrambled pictures under another key; see :func:`noli.rotate`."""
    if key.id == former.id:
        fix = "add a key to the file with `noli key rotate`, or name the file of another one"
        raise UsageError("The pictures have this key already.", where=key.id, fix=fix)
    return run_data(
        RunRequest(
            source=place,
            output=output,
            spec=SPEC,
            cfg=Config(),
            key=key,
            former=former,
            workers=workers if workers is not None else available_cores(),
            format="same",
            on_error=on_error,
            run_dir=None if run is None else Path(run),
            args_passed={"former": former.id},
            progress=progress or Progress(),
        )
    )
