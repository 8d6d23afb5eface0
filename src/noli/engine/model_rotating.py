"""Give a keyed model another key: columns of its secret first layers change places; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noli.core.errors import UsageError
from noli.core.run import Run
from noli.engine.lockedmodels import BACKGROUND, FILES, Keys, background, keys_of
from noli.engine.locking import RESUME, LockRequest, created, digest, finish, whole, worked
from noli.engine.progress import Progress
from noli.engine.request import FORMER, KeyLike, folder_of, key_for
from noli.engine.rotating import SPEC, Config

LAYOUT = "keyed-model-rotated"


@dataclass(frozen=True)
class ModelRotation(LockRequest):
    """One rotation; `former` are the ids of the keys so far, `digest` the SHA-256 of the model's manifest."""

    former: tuple[str, ...] = ()
    digest: str = ""

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output."""
        return {**super().resolved(), FORMER: list(self.former), "digest": self.digest}


def rotate_model(
    model: str | Path,
    output: str | Path,
    *,
    key: KeyLike,
    former: Keys = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Write a keyed model under another key; see :func:`noli.rotate`.

    Pairs that have the new key already stay as they are. The record says which key followed which.

    Raises:
        UsageError: All pairs have this key already, or it is retired.
        WrongKey: A former key is not the one of its pair; noticed before any weights are read.
        KeyFileError: A key file cannot be read, or a key was revoked.
        DataError: A damaged model.
        OutputExists: Something else lies at the output.
    """
    from noli.zoo.keyed_folder import load_bare, load_keyed, read_manifest, save_keyed
    from noli.zoo.keyed_folding import rotated

    folder, place = Path(model), Path(output)
    facts = read_manifest(folder)
    owner = key_for(SPEC, key, folder_of(run, output))
    if all(pair.key_id == owner.id for pair in facts.pairs):
        fix = "add a key to the file with `noli key rotate`, or name the file of another one"
        raise UsageError("The model has this key already.", where=owner.id, fix=fix)
    # Some of the pairs may have the new key already.
    known = {one.id: one for one in keys_of(facts, key if former is None else former, folder, [owner])}
    request = ModelRotation(
        source=str(folder),
        output=str(place),
        spec=SPEC,
        cfg=Config(),
        key=owner,
        run_dir=None if run is None else Path(run),
        progress=progress or Progress(),
        former=tuple(dict.fromkeys(pair.key_id for pair in facts.pairs)),
        digest=digest(folder / FILES["keyed-model"]),
    )

    def work(found: Run | None) -> Run:
        if found is None:
            for number in range(len(facts.pairs)):
                load_bare(folder, number)  # a damaged model leaves no run behind
        record = found or created(request, LAYOUT)
        if not whole(record, place):
            with record.recording_failures(RESUME):
                _finish(record)
        return record

    def _finish(record: Run) -> None:
        made = load_keyed(folder, list(known.values()))
        for number, pair in enumerate(facts.pairs):
            if pair.key_id != owner.id:
                made = rotated(made, number, known[pair.key_id], owner)
        past = background(folder)
        record.update(state={BACKGROUND: past and past.stored()})
        (place / FILES["keyed-model"]).unlink(missing_ok=True)  # of a call that was killed after it
        save_keyed(made, place)
        steps = [{"pair": n, "from": one.key_id, "to": owner.id} for n, one in enumerate(facts.pairs)]
        finish(record, place, {"items": len(steps), "rotated": steps})

    return worked(request, work)
