"""The demo's last chapter: mark, train a thief, serve it, ask it, bundle the answers, check the bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict

from noli.api._check import check_bundle
from noli.api._detect import Detection, detect
from noli.api._loopback import ASKED, served
from noli.api._mark import MarkRun, mark
from noli.core.files import atomic_write, remove_quietly
from noli.core.key import Key
from noli.core.run import read_artifact
from noli.engine.progress import Progress
from noli.proof.power import fewest_hits
from noli.proof.protocol import Protocol
from noli.proof.records import now

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.methods.verify.subject import LearnabilityData

Say = Callable[[str], None]
# Keys and alpha are the method's defaults; two suspects share alpha.
FIXED: Mapping[str, object] = {"keys": 20, "alpha": 1e-6, "tests": 2}
# Chosen in trials with other keys, as is the training: the class of a photograph is learned from its colour,
# and stripes only where they are frequent and far apart.
MARK: Mapping[str, object] = {**FIXED, "share": 1.0, "longest": 11.0, "contrast": 0.15}
NETWORK, RECIPE = "tiny", {"epochs": 8}
_HEAD = "# How the demo's service is asked: noli detect ... --endpoint FILE reads it.\n"


class Asked(BaseModel):
    """One network, and how it answered the secret questions.

    Attributes:
        accuracy: Share of new pictures that it recognises.
        hits: Questions that it answered with the secret class.
        p: Exact p-value of that.
        found: Whether that is evidence, by what was fixed beforehand.
    """

    model_config = ConfigDict(frozen=True)

    accuracy: float
    hits: int
    p: float
    found: bool


class DemoProof(BaseModel):
    """What the demo could prove, and against whom.

    Attributes:
        pictures, marked: Pictures of the set, and how many of them carry a mark.
        psnr: Mean PSNR of the marked ones in dB.
        questions: Secret questions that each network was asked.
        expected: Hits that chance gives.
        needed: Hits that are evidence.
        alpha: Probability of accusing anybody wrongly, fixed before anything was marked.
        thief: The network that trained on the marked pictures.
        innocent: The control, which trained on the originals.
        status: What the check of the thief's bundle says.
        reasons: Why, if it is not valid.
        bundle: The evidence.
        certificate: The page that the check wrote.
        seconds: Duration.
    """

    model_config = ConfigDict(frozen=True)

    pictures: int
    marked: int
    psnr: float | None
    questions: int
    expected: float
    needed: int
    alpha: float
    thief: Asked
    innocent: Asked
    status: str
    reasons: tuple[str, ...]
    bundle: Path
    certificate: Path
    seconds: float


@dataclass(frozen=True)
class _Place:
    """Where the chapter's files lie, and what it says while it runs."""

    folder: Path
    key: Key
    bar: Progress
    tell: Say

    def moment(self, name: str) -> str:
        """Return the time at which this was first asked for; a later call of the demo finds the same."""
        file = self.folder / f"{name}.txt"
        if not file.is_file():
            atomic_write(file, now().encode())
        return file.read_text("ascii")


def prove(
    folder: Path,
    pictures: Path,
    key: Key,
    *,
    workers: int | None,
    bar: Progress,
    tell: Say,
    options: Mapping[str, object] | None = None,
) -> DemoProof:
    """Mark the pictures, and find the network that learned from them; the same call again repeats nothing.

    Args:
        folder: The demo's folder.
        pictures: The originals.
        key: The owner's key.
        workers: Processes; all cores when None.
        bar: Where progress goes.
        tell: Called with one line before each step.
        options: Options of the mark that win over the demo's.
    """
    begun, place = time.monotonic(), _Place(folder / "prove", key, bar, tell)
    tell("    mark the pictures, commit to the secret questions")
    given = {**MARK, **(options or {})}
    marked = mark(
        pictures,
        place.folder / "marked",
        key=key,
        name="noli demo",
        workers=workers,
        progress=bar,
        config=given,
    )
    seen = place.moment("commitment-seen")
    bundle, page = folder / "proof.zip", folder / "proof.html"
    record = marked.artifact(f"demo-{marked.commitment.digest[:12]}.json")
    kept = read_artifact(record, DemoProof, "remove this file and give the same command again")
    if kept is not None and bundle.is_file() and page.is_file():
        return kept
    for file in (bundle, page):
        remove_quietly(file)
    thief, innocent, found = _suspects(place, pictures, marked, bundle)
    tell("    check the bundle, as somebody would who saw the commitment first and believes the draw")
    checked = check_bundle(bundle, seen=seen, believe=("draw", "age"), report=page)
    results, protocol, outcome = marked.manifest.results, marked.commitment.protocol, found.claim.outcome
    proof = DemoProof(
        pictures=results["items"],
        marked=results["items"] - results["identical"],
        psnr=results["psnr_mean"],
        questions=outcome.n,
        expected=outcome.expected,
        needed=_needed(protocol),
        alpha=protocol.alpha,
        thief=thief,
        innocent=innocent,
        status=checked.status,
        reasons=checked.reasons,
        bundle=bundle,
        certificate=page,
        seconds=round(time.monotonic() - begun, 1),
    )
    atomic_write(record, proof.model_dump_json(indent=1).encode())
    return proof


def _suspects(place: _Place, pictures: Path, marked: MarkRun, bundle: Path) -> tuple[Asked, Asked, Detection]:
    """Train both networks and ask them the same questions in the same way; also return the thief's test."""
    from noli.methods.verify.config import Config
    from noli.methods.verify.load import load

    data = load(marked.output, str(pictures), Config(max_items=marked.manifest.results["items"]))
    place.tell("    train a thief on the marked pictures, serve it, ask it the secret questions")
    thief, found = _suspect(place, marked, data, "thief", bundle)
    place.tell("    the same with an innocent network, trained on the originals")
    innocent, _ = _suspect(place, marked, data, "innocent", None)
    return thief, innocent, found


def _suspect(
    place: _Place, marked: MarkRun, data: LearnabilityData, name: str, bundle: Path | None
) -> tuple[Asked, Detection]:
    model = _trained(place, data, name)
    since = place.moment(f"{name}-since")
    with _described(model, place.folder / f"{name}.yaml") as endpoint:
        found = detect(
            marked.output, key=place.key, endpoint=endpoint, suspect=name, since=since, bundle=bundle,
            progress=place.bar,
        )  # fmt: skip
    right = model.predict(data.test_x).argmax(1) == data.test_y
    outcome = found.claim.outcome
    asked = Asked(accuracy=float(right.mean()), hits=round(outcome.value), p=outcome.p, found=found.supported)
    return asked, found


def _trained(place: _Place, data: LearnabilityData, name: str) -> Model:
    """Train a network on the marked pictures or, for the control, on the originals; kept in a file."""
    from noli import zoo
    from noli.train.fit import fit
    from noli.train.recipe import Recipe

    file = place.folder / f"{name}.safetensors"
    if not file.is_file():
        x, y = (data.protected_x, data.protected_y) if name == "thief" else (data.clean_x, data.clean_y)
        recipe = Recipe.model_validate(RECIPE)
        model = zoo.network(NETWORK, data.classes, channels=x.shape[3], size=x.shape[1], seed=recipe.seed)
        place.bar.start(1, f"train, {name}")
        fit(model, x, y, recipe)
        place.bar.advance(1)
        place.bar.finish()
        model.save(file)
    return zoo.load(file)


@contextmanager
def _described(model: Model, file: Path) -> Iterator[Path]:
    """Serve a model on loopback, and describe in a file how it is asked.

    An interrupted demo finds the service at the same address, if it can: another address would be another
    suspect, and be asked again.
    """
    from noli.adapters.config_file import load_endpoint

    port = urlsplit(load_endpoint(file).url).port if file.is_file() else None
    with served(model, port or 0) as url:
        described: dict[str, Any] = {"url": url, **ASKED}
        atomic_write(file, (_HEAD + yaml.safe_dump(described, sort_keys=False)).encode())
        yield file


def _needed(protocol: Protocol) -> int:
    """Return the fewest hits that are evidence if no more suspects are asked than were planned."""
    chance = protocol.parameters["k"] / len(protocol.parameters["classes"])
    return int(fewest_hits(np.array([protocol.budget]), chance, protocol.alpha / protocol.tests)[0])
