"""A fleet: a model for every device, killed and resumed, revoked, rotated, leaked and traced."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import escape
from safetensors import torch as safe_torch

import noli
from noli import zoo
from noli.cli.main import main
from noli.core.errors import DataError, Interrupted, KeyFileError, OutputExists, UsageError, WrongKey
from noli.core.key import Key
from noli.core.transfer import Transfer
from noli.data.demo import photo_crops
from noli.engine import fleetpool
from noli.engine.fleet import PUBLIC, RIVAL
from noli.report.words import percent
from noli.testing import KEYS, tree
from noli.zoo.fleet import MANIFEST, MOST_BYTES, load_device, read_fleet
from noli.zoo.keyed_folding import folded
from noli.zoo.tracing import named

FEW: dict[str, Any] = {
    "side": 16, "epochs": 2, "body_epochs": 2, "wrong_keys": 2, "attacked": 10, "attack_steps": 2,
    "targets": 1, "network": "convmixer", "workers": 1,
}  # fmt: skip
NAMES = ("ward-1", "ward-2", "ward-3")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops") / "photos"
    photo_crops(folder, size=16, per_class_train=10, per_class_test=1)
    return folder / "train"


@pytest.fixture(scope="module")
def fleet(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fleet") / "fleet"
    noli.proliferate(photos, place, devices=NAMES, key=KEYS[0], **FEW)
    return place


def test_every_device_has_a_small_model_of_its_own(fleet: Path) -> None:
    found = noli.Run.open(f"{fleet}.noli").manifest.results
    devices = read_fleet(fleet).active()
    assert tuple(devices) == NAMES
    x = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    answers = []
    for name, device in devices.items():
        assert device.size == (fleet / device.file).stat().st_size <= MOST_BYTES
        assert set(device.accuracy) == {"clean", "no key", "wrong keys", "worst wrong key"}
        key = noli.device_key(fleet, name, key=KEYS[0])
        answers.append(load_device(fleet, name, key).predict(x))
        for other in (KEYS[0], noli.device_key(fleet, NAMES[devices and name == NAMES[0]], key=KEYS[0])):
            with pytest.raises(WrongKey):
                load_device(fleet, name, other)
    assert not np.allclose(answers[0], answers[1], atol=1e-3)
    transfer = Transfer.model_validate(found["transfer"])
    assert transfer.sources == (*NAMES, RIVAL, PUBLIC)
    for row in transfer.accuracy:
        assert all(attacked <= clean for attacked, clean in zip(row, transfer.clean, strict=True))
    page = noli.write_report(noli.Run.open(f"{fleet}.noli")).read_text()
    for words in (*transfer.words, *transfer.sources, percent(transfer.accuracy[0][1])):
        assert str(escape(words)) in page
    assert "noli undo" not in page


def test_nothing_secret_is_in_the_folder(fleet: Path) -> None:
    keys = [KEYS[0], *(noli.device_key(fleet, name, key=KEYS[0]) for name in NAMES)]
    for file in (one for one in fleet.rglob("*") if one.is_file()):
        data = file.read_bytes()
        for key in keys:
            assert key.export_secret() not in data
            assert key.export_secret().hex().encode() not in data


def test_bytes_do_not_depend_on_workers_order_or_on_when_devices_came(photos: Path, tmp_path: Path) -> None:
    one, two, few = tmp_path / "one", tmp_path / "two", {**FEW, "rank": 0}
    noli.proliferate(photos, one, devices=NAMES, key=KEYS[0], **few)
    noli.proliferate(photos, two, devices=[NAMES[2]], key=KEYS[0], **few)
    noli.proliferate(photos, two, devices=NAMES[::-1], key=KEYS[0], **{**few, "workers": 2})
    assert tree(one) == tree(two)
    both = [noli.Run.open(f"{place}.noli").manifest.results for place in (one, two)]
    assert both[0] == both[1]


@pytest.mark.parametrize("at", ["ward-2", RIVAL, PUBLIC])
def test_killed_and_run_again_gives_the_same_fleet(
    photos: Path, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    real = fleetpool._do

    def killed(job: fleetpool.Job) -> Any:
        if job.name == at or (job.kind == "rival" and at == RIVAL):
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(fleetpool, "_do", killed)
    with pytest.raises(Interrupted):
        noli.proliferate(photos, tmp_path / "fleet", devices=NAMES, key=KEYS[0], **FEW)
    monkeypatch.setattr(fleetpool, "_do", real)
    done = noli.proliferate(photos, tmp_path / "fleet", devices=NAMES, key=KEYS[0], **FEW)
    assert tree(tmp_path / "fleet") == tree(fleet)
    assert done.manifest.results == noli.Run.open(f"{fleet}.noli").manifest.results


def test_revoked_devices_stay_out_and_rotated_ones_are_made_anew(photos: Path, tmp_path: Path) -> None:
    place = tmp_path / "fleet"
    few = {**FEW, "matrix": 0}
    noli.proliferate(photos, place, devices=NAMES, key=KEYS[0], **few)
    old = noli.device_key(place, "ward-2", key=KEYS[0], output=tmp_path / "ward-2.key")
    assert Key.load(tmp_path / "ward-2.key") == old
    with pytest.raises(OutputExists):
        noli.device_key(place, "ward-2", key=KEYS[0], output=tmp_path / "ward-2.key")
    noli.revoke_device(place, "ward-1")
    noli.rotate_device(place, "ward-2")
    for name in ("ward-1", "ward-2", "ward-9"):
        with pytest.raises(UsageError, match="no such device"):
            noli.device_key(place, name, key=KEYS[0])
        with pytest.raises(UsageError, match="no such device"):
            noli.rotate_device(place, name)
    before = (place / MANIFEST).read_bytes()
    noli.revoke_device(place, "ward-1")  # again
    assert (place / MANIFEST).read_bytes() == before
    with pytest.raises(UsageError, match="no such device"):
        noli.revoke_device(place, "ward-9")
    (place / read_fleet(place).active()["ward-3"].file).unlink()
    done = noli.proliferate(photos, place, devices=NAMES, key=KEYS[0], **few)
    assert done.manifest.results["transfer"] is None
    made = read_fleet(place)
    assert [(one.name, one.generation, one.state) for one in made.devices] == [
        ("ward-1", 0, "revoked"), ("ward-2", 0, "replaced"), ("ward-2", 1, "active"), ("ward-3", 0, "active"),
    ]  # fmt: skip
    load_device(
        place, "ward-3", noli.device_key(place, "ward-3", key=KEYS[0])
    )  # what was lost is there again
    assert not list((tmp_path / "fleet.noli" / "artifacts" / "learning").glob("*/learning-*"))
    new = noli.device_key(place, "ward-2", key=KEYS[0])
    assert new != old
    load_device(place, "ward-2", new)
    with pytest.raises(WrongKey):
        load_device(place, "ward-2", old)


def test_a_revocation_during_a_run_stays(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, few, real = tmp_path / "fleet", {**FEW, "matrix": 0, "rank": 0}, fleetpool._do

    def revoking(job: fleetpool.Job) -> Any:
        if job.name == "ward-2":
            noli.revoke_device(place, "ward-1")
        return real(job)

    monkeypatch.setattr(fleetpool, "_do", revoking)
    noli.proliferate(photos, place, devices=NAMES, key=KEYS[0], **few)
    assert [one.state for one in read_fleet(place).devices] == ["revoked", "active", "active"]
    noli.rotate_device(place, "ward-2")
    noli.revoke_device(place, "ward-2")  # before it is made anew
    assert set(read_fleet(place).active()) == {"ward-3"}


def test_devices_are_revoked_at_the_same_moment(fleet: Path, tmp_path: Path) -> None:
    place = tmp_path / "fleet"
    shutil.copytree(fleet, place)
    first = read_fleet(place).active()["ward-1"]
    made = read_fleet(place)
    for number in range(12):
        made = made.with_device(first.model_copy(update={"name": f"more-{number}"}))
    made.save(place)
    names = [f"more-{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: noli.revoke_device(place, name), names + names))
    states = {one.name: one.state for one in read_fleet(place).devices}
    assert {name for name, state in states.items() if state == "revoked"} == set(names)
    assert not Path(f"{place}.lock").exists()


def test_the_key_of_a_fleet_is_found_after_a_rotation(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, device = tmp_path / "o.key", read_fleet(fleet).active()["ward-2"]
    KEYS[0].write(file)
    Key.rotate(file)
    assert noli.device_key(fleet, "ward-2", key=file).id == device.key_id
    assert named(noli.trace_model(fleet, fleet / device.file, key=file)) == device
    words = ["lock", "device", fleet, "ward-2", "--write-key", tmp_path / "d.key", "--key", file]
    assert main([str(word) for word in words]) == 0
    assert Key.load(tmp_path / "d.key").id == device.key_id
    words = ["lock", "trace", fleet, fleet / device.file, "--key", file]
    assert main([str(word) for word in words]) == 0
    assert "from ward-2" in capsys.readouterr().out
    KEYS[1].write(tmp_path / "other.key")
    with pytest.raises(WrongKey):
        noli.device_key(fleet, "ward-2", key=tmp_path / "other.key")


def test_leaks_of_fleets_that_start_from_the_public_layer(photos: Path, tmp_path: Path) -> None:
    few = {**FEW, "matrix": 0, "rank": 0, "start": "public"}
    noli.proliferate(photos, tmp_path / "fleet", devices=NAMES[:2], key=KEYS[0], **few)
    device = read_fleet(tmp_path / "fleet").active()["ward-1"]
    found = noli.trace_model(tmp_path / "fleet", tmp_path / "fleet" / device.file, key=KEYS[0])
    assert found[0].exact
    assert named(found) == device
    noli.proliferate(photos, tmp_path / "one", devices=NAMES[:1], key=KEYS[0], **few)
    base = tmp_path / "one" / "base.safetensors"
    assert named(noli.trace_model(tmp_path / "one", base, key=KEYS[0])) is None


def test_files_of_others_are_no_devices(fleet: Path, tmp_path: Path) -> None:
    delta = safe_torch.load((fleet / read_fleet(fleet).active()["ward-1"].file).read_bytes())
    layer = next(name for name in delta if name.endswith(".A"))
    wide = {layer: torch.zeros(1, 30_000), layer[:-1] + "B": torch.zeros(30_000, 1)}
    for change in ({layer: None}, {layer[:-1] + "B": None}, wide):
        kept = {name: value for name, value in {**delta, **change}.items() if value is not None}
        (tmp_path / "odd.safetensors").write_bytes(safe_torch.save(kept))
        if layer not in kept:  # what has no A is not looked at
            continue
        with pytest.raises(DataError):
            noli.trace_model(fleet, tmp_path / "odd.safetensors", key=KEYS[0])


def test_a_leak_names_its_device(fleet: Path, tmp_path: Path) -> None:
    device = read_fleet(fleet).active()["ward-2"]
    found = noli.trace_model(fleet, fleet / device.file, key=KEYS[0])
    assert found[0].value == pytest.approx(1, abs=1e-3)
    assert named(found) == device
    key = noli.device_key(fleet, "ward-2", key=KEYS[0])
    model = load_device(fleet, "ward-2", key)
    # Folded, with a tenth of noise on every weight, rounded to half precision.
    leaked = folded(model, 0)
    generator = torch.Generator().manual_seed(0)
    for weight in leaked.parameters():
        noise = torch.randn(weight.shape, generator=generator) * weight.detach().std().nan_to_num() * 0.1
        weight.data = (weight.data + noise).half().float()
    leaked.save(tmp_path / "leaked.safetensors")
    found = noli.trace_model(fleet, tmp_path / "leaked.safetensors", key=KEYS[0])
    assert named(found) == device
    model.save(tmp_path / "keyed")
    assert named(noli.trace_model(fleet, tmp_path / "keyed", key=KEYS[0])) == device
    # Others' networks, and the public one, are nobody's.
    other = zoo.network("convmixer", 14, size=16, seed=77)
    other.save(tmp_path / "other.safetensors")
    assert named(noli.trace_model(fleet, tmp_path / "other.safetensors", key=KEYS[0])) is None
    assert named(noli.trace_model(fleet, fleet / "base.safetensors", key=KEYS[0])) is None
    with pytest.raises(WrongKey):
        noli.trace_model(fleet, fleet / device.file, key=KEYS[1])
    (tmp_path / "text").write_text("no model")
    with pytest.raises(DataError):
        noli.trace_model(fleet, tmp_path / "text", key=KEYS[0])
    zoo.network("vit", 14, size=16, side=16).save(tmp_path / "vit.safetensors")
    with pytest.raises(UsageError, match="another shape"):
        noli.trace_model(fleet, tmp_path / "vit.safetensors", key=KEYS[0])


@pytest.mark.parametrize("network", ["vit", "convmixer"])
def test_without_changes_of_the_body_and_from_the_public_layer(
    photos: Path, tmp_path: Path, network: str
) -> None:
    few = {**FEW, "network": network, "matrix": 0, "rank": 0, "start": "public", "apart": 0.5}
    noli.proliferate(photos, tmp_path / "fleet", devices=["a"], key=KEYS[0], **few)
    device = read_fleet(tmp_path / "fleet").active()["a"]
    delta = safe_torch.load((tmp_path / "fleet" / device.file).read_bytes())
    assert set(delta) == {"embed.weight", "embed.bias", "head.weight", "head.bias"}
    assert {value.dtype for value in delta.values()} == {torch.float16}


def test_what_makes_no_fleet_is_refused(photos: Path, fleet: Path, tmp_path: Path) -> None:
    def make(devices: Any, **more: Any) -> None:
        noli.proliferate(photos, tmp_path / "x", devices=devices, **{"key": KEYS[0], **FEW, **more})

    for names, words in (
        ([], "no devices"),
        (["a", "../b"], "Device 2"),
        (["a", "b", "a"], "name of another"),
    ):
        with pytest.raises(DataError, match=words):
            make(names)
    (tmp_path / "list.csv").write_text("name\na\n")
    with pytest.raises(DataError, match="cannot be used"):
        make(tmp_path / "list.csv")
    with pytest.raises(DataError, match="cannot be read"):
        make(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="needs a key"):
        make(["a"], key=None)
    with pytest.raises(UsageError, match="worker"):
        make(["a"], workers=0)
    with pytest.raises(UsageError, match="no such model"):
        make(["a"], base=tmp_path / "none")
    zoo.network("convmixer", ("a", "b"), size=16).save(tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="other classes"):
        make(["a"], base=tmp_path / "other.safetensors")
    assert not (tmp_path / "x.noli").exists()
    with pytest.raises(UsageError, match="too large"):
        make(["a"], rank=256, base=_wide(tmp_path / "wide.safetensors"))
    with pytest.raises(UsageError, match="makes no fleet"):
        noli.api._fleet.found_method("etc", "model->models", "This method makes no fleet.")
    with pytest.raises((KeyFileError, UsageError)):
        noli.device_key(fleet, "ward-1", key=None)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / MANIFEST).write_bytes((fleet / MANIFEST).read_bytes().replace(b"ward-1", b"ward-7"))
    with pytest.raises(DataError, match="damaged"):
        read_fleet(damaged)


def _wide(place: Path) -> Path:
    zoo.network("convmixer", 14, size=16, width=2048, depth=4).save(place)
    return place
