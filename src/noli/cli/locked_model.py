"""What commands say of a locked model: use, attacks, theft; and ``noli verify`` of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from noli.cli import console
from noli.cli.shared import load_key
from noli.core.run import Run
from noli.ops.metrics import percent

if TYPE_CHECKING:
    from noli.core.robustness import Robustness


def show_model(out: console.Output, done: Run, place: str, further: Mapping[str, Any] | None = None) -> None:
    """Print what a run measured of a locked model, and write its report."""
    from noli import registry
    from noli.api import write_report

    method: Any = registry.module(str(done.manifest.method))
    found = done.manifest.results
    rows, measure = method.MEASURE
    table = [(name, percent(value), method.MEANINGS[name]) for name, value in found[rows].items()]
    facts: console.Rows = [
        ("model", place),
        ("pictures", f"{found['training']:,} for training, {found['held_out']:,} held out"),
        *method.told(found),
        ("report", str(write_report(done))),
    ]
    shown = console.table(f"{measure} on held-out pictures", ["row", measure, "what it is"], table)
    answer = {"output": place, "run": str(done.path), "results": found, **(further or {})}
    out.result(answer, shown, "", *_attacked(found), console.grid(facts))
    for words in _robustness(found).checks.words if "robustness" in found else ():
        out.warn(words)


def verify_model(
    out: console.Output,
    model: str,
    clean: str,
    key: Path | None,
    *,
    public: Path | None,
    labels: str | None,
    run: Path | None,
    passphrase_file: Path | None,
    options: Mapping[str, Any],
    only: str | None = None,
) -> None:
    """Measure a locked model again, or by one attack; exit 1 where its claim fails in anything measured."""
    from noli import api, registry
    from noli.engine.lockedmodels import kind_of, model_folder
    from noli.engine.model_audit import MEASURED, fallen

    kind = kind_of(model)
    if kind is not None and kind in MEASURED:
        method: Any = registry.module(MEASURED[kind])
        out.hint(method.WORDS)
    done = api.audit_model(
        model,
        clean=clean,
        key=key and load_key(key, passphrase_file, _key_id(model_folder(model), str(kind))),
        public=public,
        labels=labels,
        run=run,
        only=only,
        progress=out.progress(),
        **options,
    )
    failed = fallen(done)
    if only is None:
        show_model(out, done, model, {"fallen": failed})
    else:
        _show_attack(out, done, model, failed)
    for words in failed:
        out.warn(words)
    if failed:
        raise typer.Exit(1)


def _show_attack(out: console.Output, done: Run, place: str, failed: Sequence[str]) -> None:
    """Print what one attack found."""
    from noli import registry
    from noli.api import write_report
    from noli.ops.lockclaims import ATTACK, figures

    method: Any = registry.module(str(done.manifest.method))
    found, measure = done.manifest.results, method.MEASURE[1]
    rows = figures(found)
    lowers, whole = rows[0].lowers, percent(rows[0].whole)
    title = f"{found[ATTACK]}: {measure} that {'is left' if lowers else 'a thief reaches'}"
    columns = ["level", "pictures are made on"] if lowers else ["attacker has", "what he does"]
    facts: console.Rows = [
        ("with the key", f"{whole} of {found['robustness']['pictures']}, unattacked" if lowers else whole),
        ("pictures", f"{found['training']:,} for training, {found['held_out']:,} held out"),
        *([("guessing", percent(found["chance"]))] if "chance" in found else []),
        ("report", str(write_report(done))),
    ]
    cells = [(one.who, one.what, percent(one.value)) for one in rows]
    answer = {"output": place, "run": str(done.path), "attack": found[ATTACK], "results": found}
    shown = console.table(title, [*columns, measure], cells)
    out.result({**answer, "fallen": failed}, shown, "", console.grid(facts))
    for words in _robustness(found).checks.words if "robustness" in found else ():
        out.warn(words)


def _key_id(folder: Path, kind: str) -> str | None:
    """Return the id of the key that a model needs; None where the model says none."""
    if kind == "keyed-model":
        from noli.zoo.keyed_folder import read_manifest

        return read_manifest(folder).pairs[0].key_id
    if kind == "locked-detector":
        from noli.zoo.locked_detector import FILE, load_locked

        return load_locked(folder / FILE).lock.key_id
    return None


def _attacked(found: Mapping[str, Any]) -> list[Any]:
    """Return what a run says about attacks on a model, as blocks; nothing where it measured none."""
    from noli.core.robustness import LEVELS
    from noli.core.theft import Theft

    blocks: list[Any] = []
    if "robustness" in found:
        left = [
            (level, percent(share), f"who {LEVELS[level]}")
            for level, share in _robustness(found).least.items()
        ]
        whole = (
            f"{percent(_robustness(found).clean)} of {found['robustness']['pictures']} pictures unattacked"
        )
        title, columns = f"Accuracy under the best attack ({whole})", ["level", "accuracy", "of an attacker"]
        blocks += [console.table(title, columns, left), ""]
    if "theft" in found:
        words = Theft.model_validate(found["theft"]).words
        blocks += [console.grid([("theft", one) for one in words]), ""]
    return blocks


def _robustness(found: Mapping[str, Any]) -> Robustness:
    from noli.core.robustness import Robustness

    return Robustness.model_validate(found["robustness"])
