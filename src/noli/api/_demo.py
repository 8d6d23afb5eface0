"""The whole story on embedded photographs: key, protect, verify, undo, prove, report."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from noli.api._demo_lock import DemoLock, break_locks
from noli.api._demo_proof import DemoProof, prove
from noli.api._protect import ProtectRun, protect
from noli.api._verify import verify
from noli.core.evidence import Evidence, Row
from noli.core.files import atomic_write
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.run import read_artifact
from noli.data.demo import photo_crops
from noli.engine.progress import Progress
from noli.engine.undo import undo

Say = Callable[[str], None]
# Five minutes on two cores, installation included: fewer pictures and shorter trainings than `noli verify`.
SMALL: Mapping[str, object] = {"max_items": 2240, "min_steps": 0, "epochs": 6, "partial": ()}
EQUALISED_EACH = 160  # training crops a class: 2,240 in all
ROW = "crop+flip"


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        folder: Everything it made.
        report: The page to open.
        pictures: Where the pictures are.
        clean: Accuracy on held-out pictures after training on the originals; None when not measurable.
        chance: Accuracy of guessing.
        paper: Accuracy after training on data protected as published, or None.
        keyed: The same for the default mode, or None.
        brightened: The same for pictures that no filter touched and that were only divided by their
            largest value, as the published mode does at the end: the control.
        equalised: The accuracies ``clean``, ``paper`` and ``keyed`` on the embedded pictures without their
            colour and exposure; empty for pictures of your own.
        evidence: The full verification of the published mode.
        undo_psnr: Mean PSNR of the restored pictures in dB; None when all are identical.
        proof: What could be proven of somebody who trained on marked pictures; None for pictures of your own.
        locks: Ways to scramble pictures, and what attacks brought back; empty for pictures of your own.
        seconds: Duration.
        embedded: Whether the pictures were the installation's own photographs.
    """

    folder: Path
    report: Path
    pictures: Path
    clean: float | None
    chance: float | None
    paper: float | None
    keyed: float | None
    brightened: float | None
    equalised: Mapping[str, float | None]
    evidence: Evidence
    undo_psnr: float | None
    proof: DemoProof | None
    locks: tuple[DemoLock, ...]
    seconds: float
    embedded: bool

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready fields."""
        apart = ("evidence", "proof", "locks")
        plain = {name: value for name, value in asdict(self).items() if name not in apart}
        locks = [one.model_dump(mode="json") for one in self.locks]
        proof = self.proof.model_dump(mode="json") if self.proof is not None else None
        return {**plain, "evidence": self.evidence.model_dump(mode="json"), "proof": proof, "locks": locks}


def demo(
    dest: str | Path = "demo-run",
    data: str | Path | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    config: Mapping[str, object] | None = None,
) -> DemoResult:
    """Run the whole story offline; the same call again goes on where it stopped.

    Args:
        dest: Folder for everything that is made.
        data: Labelled pictures of your own; photographs of the installation when None.
        workers: Processes; all cores when None.
        progress: Where progress goes; nowhere when None.
        say: Called with one line before each step.
        config: Options of the verification; by default shortened to fit five minutes with the embedded
            pictures (and with a narrower network on processors without bf16), and those of
            ``noli verify`` with your own.

    Raises:
        NoliError: Whatever a step raises; the same call goes on.
    """
    begun = time.monotonic()
    folder, bar, tell = Path(dest), progress or Progress(), say or (lambda _: None)
    steps = 8 if data is None else 6
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"1/{steps} pictures")
    pictures = Path(data) if data is not None else photo_crops(folder / "photos")
    tell(f"2/{steps} key")
    key = _key(folder / "owner.key")
    tell(f"3/{steps} protect, as published (paper mode)")
    paper = protect(pictures, folder / "safe-paper", key=key, mode="paper", workers=workers, progress=bar)
    tell(f"4/{steps} protect, with secret per-picture filters (default mode)")
    safe = protect(pictures, folder / "safe", key=key, workers=workers, progress=bar)
    tell(f"5/{steps} verify: train fresh models, as a thief would")
    settings = dict(_small() if data is None and config is None else config or {})
    evidence = verify(folder / "safe-paper", clean=pictures, progress=bar, config=settings)
    keyed = _accuracy(safe, pictures, evidence.config, bar)
    control = _accuracy(safe, pictures, evidence.config, bar, "brightened")
    equalised = {}
    if data is None:
        tell("    and on the same photographs without colour and exposure")
        equalised = _equalised(folder, key, evidence.config, workers, bar)
    tell(f"6/{steps} undo with the key")
    restored = undo(folder / "safe", folder / "back", key=key, workers=workers, progress=bar)
    proof = _proof(folder, pictures, key, workers, bar, tell) if data is None else None
    locks: tuple[DemoLock, ...] = ()
    if data is None:
        tell("8/8 lock it and break it: scrambled pictures, and what comes back without the key")
        locks = break_locks(folder, key, bar=bar, tell=tell)
    return DemoResult(
        folder=folder,
        report=paper.report(folder / "report.html"),
        pictures=pictures,
        clean=evidence.reference.get("clean"),
        chance=evidence.reference.get("chance"),
        paper=next((row.value for row in evidence.rows if row.name == ROW), None),
        keyed=keyed,
        brightened=control,
        equalised=equalised,
        evidence=evidence,
        undo_psnr=restored.psnr_mean,
        proof=proof,
        locks=locks,
        seconds=round(time.monotonic() - begun, 1),
        embedded=data is None,
    )


def _key(file: Path) -> Key:
    return Key.load(file) if file.exists() else Key.new(file, label="demo")


def _proof(
    folder: Path, pictures: Path, key: Key, workers: int | None, bar: Progress, tell: Say
) -> DemoProof:
    tell("7/8 prove it: find the network that learned from your pictures")
    return prove(folder, pictures, key, workers=workers, bar=bar, tell=tell)


def _small() -> dict[str, object]:
    """The shortened verification; without fast bf16 the usual network would take twice the five minutes."""
    from noli.train.hardware import fast_bf16, pick_device

    return {**SMALL, "network": "small" if fast_bf16(pick_device("auto").type) else "tiny"}


def _equalised(
    folder: Path, key: Key, config: Mapping[str, object], workers: int | None, bar: Progress
) -> dict[str, float | None]:
    """Protect and measure the embedded pictures without their colour and exposure."""
    plain = photo_crops(folder / "photos-equalised", per_class_train=EQUALISED_EACH, equalised=True)
    found = {}
    for mode, name in (("paper", "safe-equalised-paper"), ("keyed", "safe-equalised")):
        made = protect(plain, folder / name, key=key, mode=mode, workers=workers, progress=bar)
        if mode == "paper":
            found["clean"] = _accuracy(made, plain, config, bar, "clean")
        found[mode] = _accuracy(made, plain, config, bar)
    return found


def _accuracy(
    made: ProtectRun, clean: Path, config: Mapping[str, object], bar: Progress, on: str = "protected"
) -> float | None:
    """Train once on the `protected`, `clean` or `brightened` pictures; remembered in the run folder."""
    from noli.methods.verify.config import Config
    from noli.methods.verify.learnability import measure_row
    from noli.methods.verify.load import load
    from noli.ops.filters import rescale_to_max

    cfg = Config.model_validate(dict(config))
    data = made.manifest.output.hash if made.manifest.output else ""
    name = hashlib.sha256(f"{cfg.model_dump_json()} {on} {data}".encode()).hexdigest()[:12]
    file = made.artifact(f"demo-{name}.json")
    kept = read_artifact(file, Row, "remove this file and give the same command again")
    if kept is not None:
        return kept.value
    subject = load(made.output, str(clean), cfg)
    if len(subject.classes) < 2 or len(subject.test_y) == 0:
        return None
    if on == "brightened":
        lifted = to_uint8(rescale_to_max(to_float(subject.clean_x)))
        subject = replace(subject, protected_x=lifted, protected_y=subject.clean_y, restored=None)
    bar.start(1, f"train, {on}")
    row = measure_row(subject, cfg, ROW, part="clean" if on == "clean" else "protected")
    bar.advance(1)
    bar.finish()
    atomic_write(file, row.model_dump_json(indent=1).encode())
    return row.value
