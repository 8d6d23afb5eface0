"""Mark a model, give it away, ask whoever serves it, prove: from pictures in folders to a bundle's check."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import noli
from models_making import OPTIONS, OWN, Thief, write_pictures, write_subject
from noli.api import ModelRun, _beacon, _mark_models
from noli.cli.main import main
from noli.core.errors import DataError, NoliError, OutputExists, RunError, UsageError, WrongKey
from noli.core.key import Key
from noli.core.model import Model
from noli.engine.progress import Progress
from noli.methods.mark import sleepermark as method
from noli.proof import commitment
from noli.proof.check import check
from noli.proof.records import now, sha256
from noli.testing import KEYS
from noli.zoo.latent import LatentDiffusion
from noli.zoo.watermark import build

sys.path.insert(0, str(Path(__file__).parent / "adapters"))
from servers import Seen, Sent, said, serve

sys.path.insert(0, str(Path(__file__).parent))
from beacon_round import SERVED, TIME, Clock, write_round


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def pictures(place: Path) -> Path:
    return write_pictures(place / "pictures")


@pytest.fixture(scope="module")
def owned(place: Path, pictures: Path) -> dict[str, Any]:
    """The owner's model and an extractor for it, as arguments."""
    model, extractor = write_subject(place, pictures)
    return {"key": KEYS[0], "model": model, "extractor": extractor, "config": OPTIONS}


@pytest.fixture(scope="module")
def marked(place: Path, pictures: Path, owned: dict[str, Any]) -> ModelRun:
    return noli.mark_model(pictures, place / "out", name="A studio", **owned)


@pytest.fixture(autouse=True)
def unspent(place: Path) -> None:
    """Eight bits pay for two tests; every test here begins with an empty ledger, and none that were made."""
    for made in ("ledger.jsonl", "*/transcript.jsonl"):
        for file in place.glob(f"*.noli/proof/{made}"):
            file.unlink()


def weights(folder: str | Path) -> bytes:
    return (Path(folder) / "model.safetensors").read_bytes()


def ask(run: ModelRun, thief: Callable[..., Any], tmp_path: Path, **more: Any) -> noli.api.Detection:
    with serve(thief) as server:
        described = {"url": server.url, "style": "openai-images", "budget": 200, "retries": 0}
        file = tmp_path / "suspect.yaml"
        file.write_text(yaml.safe_dump(described))
        return noli.detect(run.output, key=KEYS[0], endpoint=file, **more)


def test_only_attention_is_changed_and_two_commitments_bind_all_that_reads(
    marked: ModelRun, owned: dict[str, Any]
) -> None:
    before, after = LatentDiffusion.load(owned["model"]), LatentDiffusion.load(marked.output)
    changed = {
        name
        for (name, a), b in zip(before.denoiser.named_parameters(), after.denoiser.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert changed
    assert all(".attend." in name for name in changed)
    state = marked.manifest.state or {}
    bound = {"model": before.weight_hash(), "coder": before.coder_hash(), "extractor": state["extractor"]}
    for made in marked.commitments.values():
        made.check()
        assert made.protocol.binds == bound
    assert {one.protocol.test for one in marked.commitments.values()} == {"bits", "decoys"}
    assert marked.manifest.model is not None
    assert marked.manifest.model.weights_sha256 == after.weight_hash()
    assert Image.open(marked.sheet_file).size == (2 * 100 + 4, 3 * 100 + 4)
    secret = method.trigger(state, KEYS[0], method.Config(**OPTIONS))
    kept = [file for file in marked.path.rglob("*") if file.is_file()]
    assert not any(secret.encode() in file.read_bytes() for file in kept)


def test_the_same_call_again_changes_nothing_and_a_changed_model_is_noticed(
    place: Path, pictures: Path, owned: dict[str, Any], marked: ModelRun
) -> None:
    before = weights(marked.output)
    again = noli.mark_model(pictures, place / "out", name="Somebody else", **owned)
    assert again.commitments == marked.commitments
    assert weights(marked.output) == before
    file = Path(marked.output) / "model.safetensors"
    shutil.copy(Path(owned["model"]) / "model.safetensors", file)
    with pytest.raises(DataError, match="not the marked model"):
        noli.mark_model(pictures, place / "out", **owned)
    file.write_bytes(before)


class Dying(Progress):
    """Is interrupted when a stage begins, or after some steps of it."""

    def __init__(self, stage: str, steps: int) -> None:
        self.stage, self.steps, self.now = stage, steps, ""

    def start(self, total: int | None, label: str) -> None:
        self.now = label

    def advance(self, n: int = 1) -> None:
        self.steps -= self.now == self.stage
        if self.now == self.stage and self.steps < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["read", "coder", "denoiser", "mark", "inject-trigger"])
def test_a_killed_run_of_a_model_of_our_own_gives_the_same_bytes(
    place: Path, pictures: Path, stage: str
) -> None:
    options = {"key": KEYS[0], "config": {**OPTIONS, **OWN}}
    whole = place / "whole"
    if not whole.exists():
        noli.mark_model(pictures, whole, **options)
    out = place / f"killed-{stage}"
    with pytest.raises(NoliError, match="Stopped"):
        noli.mark_model(pictures, out, progress=Dying(stage, 1), **options)
    assert not out.exists()
    done = noli.mark_model(pictures, out, **options)
    assert weights(out) == weights(whole)
    first, second = (Path(f"{one}.noli/artifacts/extractor.safetensors") for one in (whole, out))
    assert first.read_bytes() == second.read_bytes()
    assert not (done.path / "artifacts" / "checkpoint").exists()


def test_another_key_or_recipient_has_other_secrets(
    place: Path, pictures: Path, owned: dict[str, Any], marked: ModelRun
) -> None:
    other = noli.mark_model(pictures, place / "other", **{**owned, "key": KEYS[1]})
    theirs = noli.mark_model(pictures, place / "theirs", recipient="A museum", **owned)
    found = {weights(run.output) for run in (marked, other, theirs)}
    assert len(found) == 3
    roots = {one.commitments[test].root for one in (marked, other, theirs) for test in ("bits", "decoys")}
    assert len(roots) == 6


def test_a_thief_is_found_by_the_message_and_by_the_trigger(
    pictures: Path, marked: ModelRun, tmp_path: Path
) -> None:
    thief, bundles = Thief(marked, pictures), [tmp_path / "bits.zip", tmp_path / "decoys.zip"]
    found = ask(marked, thief, tmp_path, since=now(), bundle=bundles[0])
    assert found.supported
    assert (found.test, found.claim.outcome.n, found.claim.outcome.refused) == ("bits", 8, 0)
    # Once more, while the service is gone: nothing is asked twice.
    again = noli.detect(marked.output, key=KEYS[0], endpoint=tmp_path / "suspect.yaml")
    assert again.claim.outcome == found.claim.outcome
    control = ask(marked, thief, tmp_path, since=now(), test="decoys", bundle=bundles[1])
    assert control.supported
    assert (control.test, control.claim.outcome.value) == ("decoys", 1)
    assert thief.asked == 6 + 24 * 2
    kept = list((marked.path / "proof" / "pictures").iterdir())
    assert len(kept) == thief.asked
    for entry in map(json.loads, found.transcript.read_text().splitlines()):
        (shown,) = [one for one in kept if one.name.startswith(f"bits-{entry['part']:05d}-")]
        assert sha256(shown.read_bytes()) == entry["response"]
    for entry in map(json.loads, control.transcript.read_text().splitlines()):
        shown_each = sorted(one for one in kept if one.name.startswith(f"decoys-{entry['part']:05d}-"))
        digests = [bytes.fromhex(sha256(one.read_bytes())) for one in shown_each]
        assert (len(digests), sha256(*digests)) == (2, entry["response"])
    assert all(Image.open(one).format == "JPEG" for one in kept)
    for bundle in bundles:
        assert check(bundle.read_bytes()).status == "untimely"  # nobody but the owner says when
        owner = ("clock", "draw", "age")
        told = noli.check_bundle(bundle, believe=owner, released=marked.output)
        assert told.status == "valid"
        # The commitments came before the model: one record binds it for both.
        assert told.release is not None
        assert told.release.record == sha256((marked.path / "proof" / "release.json").read_bytes())
        assert told.compared is not None
        assert told.compared.outcome == "same"
    # Each test has a ledger family of its own.
    assert found.claim.verdict.tests == control.claim.verdict.tests == 1


def test_who_took_nothing_is_not_found(pictures: Path, marked: ModelRun, tmp_path: Path) -> None:
    honest = Thief(marked, pictures, honest=True)
    for test in ("bits", "decoys"):
        found = ask(marked, honest, tmp_path, suspect="honest", test=test)
        assert not found.supported


def test_a_test_that_nothing_could_prove_is_refused_before_anything_is_asked(
    pictures: Path, marked: ModelRun, tmp_path: Path
) -> None:
    honest = Thief(marked, pictures, honest=True)
    call: dict[str, Any] = {"suspect": "one of many", "test": "decoys"}
    first = ask(marked, honest, tmp_path, **call)
    # What was asked before is read again, however much a new test would cost.
    again = noli.detect(marked.output, key=KEYS[0], endpoint=tmp_path / "suspect.yaml", **call)
    assert again.claim.outcome == first.claim.outcome
    asked, ledger = honest.asked, (marked.path / "proof" / "ledger.jsonl").read_bytes()
    with pytest.raises(UsageError, match="nothing was asked"):
        ask(marked, honest, tmp_path, suspect="two of many", test="decoys")
    assert (honest.asked, (marked.path / "proof" / "ledger.jsonl").read_bytes()) == (asked, ledger)
    (marked.path / "proof" / "ledger.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="was changed"):
        ask(marked, honest, tmp_path, suspect="three of many")


def test_refused_pictures_count_as_misses(pictures: Path, marked: ModelRun, tmp_path: Path) -> None:
    shy = Thief(marked, pictures, refused="leaf")
    found = ask(marked, shy, tmp_path, suspect="shy")
    assert (found.claim.outcome.refused, found.hopeless) == (3, True)
    # Every choice of three of six pictures is paid for.
    assert found.claim.outcome.p >= 20 * ask(marked, Thief(marked, pictures), tmp_path).claim.outcome.p


def test_a_model_that_lies_here_is_asked_with_the_owner_s_seeds(
    marked: ModelRun, owned: dict[str, Any]
) -> None:
    cfg, state = method.Config(**OPTIONS), marked.manifest.state or {}
    found = noli.detect(marked.output, key=KEYS[0], model=marked.output)
    entries = [json.loads(line) for line in found.transcript.read_text().splitlines()]
    base, asked = LatentDiffusion.load(owned["model"]), method.queries(state, KEYS[0], cfg)
    model = LatentDiffusion.load(marked.output)
    parts = (model.weight_hash(), model.coder_hash())
    assert found.claim.suspect.weights == sha256(*map(bytes.fromhex, parts))
    assert "2 steps, guidance 3" in found.claim.suspect.where
    from noli.engine.models.marking import reader

    for entry, (query,) in zip(entries, asked, strict=True):
        picture = model.generate([query.prompt], query.seed, cfg.sampling, cfg.guidance)
        votes = method.votes(base, reader(marked)[1], picture)[0]
        assert entry["answer"] == pytest.approx(list(votes), abs=1e-5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_beacon, "now", made)
    monkeypatch.setattr(commitment, "now", made)
    monkeypatch.setattr(_mark_models, "now", made)
    return made


def test_a_beacon_decides_message_and_trigger(
    pictures: Path, owned: dict[str, Any], tmp_path: Path, clock: Clock
) -> None:
    pytest.importorskip("py_ecc")
    out, options = tmp_path / "out", {**owned, "beacon": True}
    first = noli.mark_model(pictures, out, **options)
    assert first.waiting
    assert (first.round_time, out.exists()) == (TIME, False)
    published = [one.read_bytes() for one in (first.commitment_file, first.trigger_file)]
    with pytest.raises(UsageError, match="not decided yet"):
        method.message(first.manifest.state or {}, KEYS[0], method.Config(**OPTIONS))
    clock.moment += timedelta(minutes=5)
    assert noli.mark_model(pictures, out, beacon_delay=600, **options).waiting
    with pytest.raises(UsageError, match="begun with a beacon"):
        noli.mark_model(pictures, out, **owned)
    clock.moment = TIME + timedelta(days=1)
    done = noli.mark_model(pictures, out, beacon_file=write_round(tmp_path), **options)
    assert not done.waiting
    assert [one.read_bytes() for one in (done.commitment_file, done.trigger_file)] == published
    assert json.loads((done.path / "proof" / "beacon.json").read_bytes()) == SERVED
    state, cfg = done.manifest.state or {}, method.Config(**OPTIONS)
    without = {name: one for name, one in state.items() if name not in ("beacon", "randomness")}
    assert method.message(state, KEYS[0], cfg) != method.message(without, KEYS[0], cfg)
    bundle, before = tmp_path / "proof.zip", TIME - timedelta(minutes=1)
    assert ask(done, Thief(done, pictures), tmp_path, bundle=bundle).supported
    assert noli.check_bundle(bundle, seen=before.isoformat()).status == "valid"
    assert ask(done, Thief(done, pictures), tmp_path, test="decoys").supported


def test_a_run_without_a_beacon_gets_none_later(
    pictures: Path, owned: dict[str, Any], marked: ModelRun
) -> None:
    pytest.importorskip("py_ecc")
    with pytest.raises(UsageError, match="without a beacon"):
        noli.mark_model(pictures, marked.output, beacon=True, **owned)


def refused(error: type[NoliError], words: str, pictures: Path, out: Path, /, **given: Any) -> None:
    with pytest.raises(error, match=words):
        noli.mark_model(pictures, out, **given)
    assert not out.exists()


def test_bad_calls_are_refused_and_leave_nothing_at_the_output(
    pictures: Path, owned: dict[str, Any], marked: ModelRun, tmp_path: Path
) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    refused(UsageError, "never be evidence", pictures, out, **owned, alpha=1e-6)
    refused(UsageError, "never be evidence", pictures, out, **owned, control=0.01)
    refused(UsageError, "no option", pictures, out, **owned, strength=3)
    assert not out.with_name("out.noli").exists()
    refused(
        DataError, "does not fit", pictures, tmp_path / "1", **{**owned, "config": {**OPTIONS, "bits": 9}}
    )
    refused(DataError, "model", pictures, tmp_path / "2", **{**owned, "model": empty})
    loose = tmp_path / "loose"
    loose.mkdir()
    shutil.copy(pictures / "sea" / "0.png", loose)
    refused(DataError, "no caption", loose, tmp_path / "3", **owned)
    refused(OutputExists, "inside", pictures, pictures / "out", **owned)
    with pytest.raises(OutputExists):
        noli.mark_model(pictures, owned["model"], **owned)
    with pytest.raises(UsageError, match="other arguments"):
        noli.mark_model(pictures, marked.output, **owned, eta=3.0)
    with pytest.raises(UsageError, match="does not mark models"):
        noli.mark_model(pictures, out, "gratings", **owned)
    with pytest.raises(UsageError, match="does not mark pictures"):
        noli.mark(pictures, out, "sleepermark", key=KEYS[0])
    with pytest.raises(WrongKey):
        noli.detect(marked.output, key=KEYS[1], model=marked.output)
    with pytest.raises(UsageError, match="no such test"):
        noli.detect(marked.output, key=KEYS[0], model=marked.output, test="texts")
    with pytest.raises(UsageError, match="no classes"):
        noli.detect(marked.output, key=KEYS[0], model=marked.output, label_map=tmp_path / "map.json")


def test_pictures_that_changed_between_two_calls_are_noticed(
    pictures: Path, owned: dict[str, Any], tmp_path: Path
) -> None:
    mine = shutil.copytree(pictures, tmp_path / "mine")
    with pytest.raises(NoliError, match="Stopped"):
        noli.mark_model(mine, tmp_path / "out", progress=Dying("inject-trigger", 0), **owned)
    (mine / "sea" / "0.png").unlink()
    with pytest.raises(DataError, match="not those that the run was begun with"):
        noli.mark_model(mine, tmp_path / "out", **owned)


def test_an_extractor_that_was_exchanged_reads_nothing(
    place: Path, pictures: Path, owned: dict[str, Any], tmp_path: Path
) -> None:
    run = noli.mark_model(pictures, tmp_path / "out", **owned)
    other = noli.mark_model(pictures, tmp_path / "other", key=KEYS[0], config={**OPTIONS, **OWN})
    shutil.copy(other.extractor_file, run.extractor_file)
    with pytest.raises(DataError, match="not the one that was committed"):
        noli.detect(run.output, key=KEYS[0], model=run.output)
    # Nor one whose description shifts what it reads, which no hash of weights would show.
    shutil.copy(owned["extractor"], run.extractor_file)
    changed = Model.load(run.extractor_file, build)
    changed.mean = (0.3,)
    changed.save(run.extractor_file)
    with pytest.raises(DataError, match="description was changed"):
        noli.detect(run.output, key=KEYS[0], model=run.output)
    changed.mean = (0.0,)
    changed.save(run.extractor_file)
    published = run.trigger_file.read_bytes()
    run.trigger_file.unlink()
    with pytest.raises(RunError, match="missing"):
        noli.detect(run.output, key=KEYS[0], model=run.output, test="decoys")
    noli.mark_model(pictures, tmp_path / "out", **owned)
    assert run.trigger_file.read_bytes() == published


def test_another_model_behind_the_same_address_is_asked_anew(
    pictures: Path, marked: ModelRun, tmp_path: Path
) -> None:
    thief, file = Thief(marked, pictures), tmp_path / "suspect.yaml"
    with serve(thief) as server:
        found = []
        for name in ("a", "b"):
            described = {"url": server.url, "style": "openai-images", "model": name, "retries": 0}
            file.write_text(yaml.safe_dump(described))
            found.append(noli.detect(marked.output, key=KEYS[0], endpoint=file).claim.suspect)
    assert thief.asked == 12
    assert "(model a, request " in found[0].where
    assert found[0].identity != found[1].identity


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_service_that_repeats_parts_of_the_trigger_does_not_put_them_into_the_bundle(
    pictures: Path, marked: ModelRun, tmp_path: Path, status: int
) -> None:
    thief, bundle = Thief(marked, pictures), tmp_path / "proof.zip"

    def echo(seen: Seen) -> Sent:
        words = seen.json["prompt"].upper().split()[::-1]
        error = {"code": "moderation_blocked" if status == 403 else words[-1], "message": " ".join(words)}
        return said({"error": error}, status=status)

    def served(seen: Seen) -> Sent:
        return echo(seen) if thief.asked else thief(seen)  # a service that never worked is an error

    found = ask(marked, served, tmp_path, suspect=f"echo {status}", bundle=bundle)
    assert found.claim.outcome.refused == 5
    told = found.transcript.read_text()
    assert ("declined by the service" if status == 403 else f"HTTP {status}") in told
    assert not any(word in told.casefold() for word in thief.trigger.casefold().split())


def test_pictures_that_would_take_gigabytes_are_misses(
    pictures: Path, marked: ModelRun, tmp_path: Path
) -> None:
    target = io.BytesIO()
    Image.new("L", (60_000, 1)).save(target, "PNG")
    long = said({"data": [{"b64_json": base64.b64encode(target.getvalue()).decode()}]})
    found = ask(marked, lambda _: long, tmp_path, suspect="long")
    assert (found.claim.outcome.refused, found.supported) == (6, False)
    assert "60000 x 1 pixels" in found.transcript.read_text()


def test_a_string_of_which_a_picture_is_missing_is_a_miss(
    pictures: Path, marked: ModelRun, tmp_path: Path
) -> None:
    shy = Thief(marked, pictures, refused="sea")
    found = ask(marked, shy, tmp_path, suspect="shy", test="decoys")
    assert (found.claim.outcome.refused, found.claim.outcome.p) == (24, 1.0)


def test_the_command_line(
    pictures: Path,
    owned: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = tmp_path / "owner.key"
    Key.new(key)
    # With a key of its own every time, one run in a hundred would find the innocent model below.
    for command_line in ("models.load_begun_key", "detect.load_marking_key"):
        monkeypatch.setattr(f"noli.cli.{command_line}", lambda *_: KEYS[0])
    settings = [f"--set={name}={','.join(v) if isinstance(v, tuple) else v}" for name, v in OPTIONS.items()]
    places = ["--model", str(owned["model"]), "--extractor", str(owned["extractor"]), "--key", str(key)]
    command = ["mark", "sleepermark", str(pictures), "-o", str(tmp_path / "out"), *places, *settings]
    assert main([*command, "--quiet"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("a message of 8 bits", "a trigger among 24 strings", "with trigger", "without it"):
        assert words in shown
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trigger_commitment_sha256"] != document["commitment_sha256"]
    assert main(["detect", str(tmp_path / "out"), "--key", str(key), "--model", str(owned["model"])]) == 1
    assert "NOT FOUND" in capsys.readouterr().out
    endpoint = tmp_path / "suspect.yaml"
    described = "url: http://127.0.0.1:1/v1/images/generations\nstyle: openai-images\nbudget: {}\n"
    rehearsal = ["--endpoint", str(endpoint), "--dry-run", "--test", "decoys", "--json"]
    endpoint.write_text(described.format(47))  # two pictures for each of 24 strings
    assert main(["detect", str(tmp_path / "out"), "--key", str(key), *rehearsal]) == 2
    assert "needs at least 48 requests, and the budget is 47" in capsys.readouterr().err
    endpoint.write_text(described.format(48))
    assert main(["detect", str(tmp_path / "out"), "--key", str(key), *rehearsal]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
