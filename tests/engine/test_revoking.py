"""What is revoked, by which key and in which order; and detectors whose lock cannot be sealed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as safe_torch

import noli
from noli.core.errors import LicenceRevoked, UsageError, WrongKey
from noli.core.key import Key
from noli.engine import licences, revocations
from noli.zoo.detector import detector
from noli.zoo.locked_detector import paper_lock, without_change
from noli.zoo.turns import Form

sys.path.insert(0, str(Path(__file__).parents[1]))
from boxes_making import scenes

OWNER, CUSTOMER, OTHER = (Key.from_bytes(bytes([n]) * 32) for n in range(3))
X = torch.zeros(1, 3, 64, 64)


def sealed(place: Path) -> Path:
    """Seal a file, with a licence for the customer."""
    (place / "m.safetensors").write_bytes(safe_torch.save({"a": torch.zeros(2)}))
    noli.seal(place / "m.safetensors", place / "s", key=OWNER)
    noli.licence(place / "s", place / "l", key=OWNER, to=noli.recipient(CUSTOMER))
    return place / "s"


def test_lists_of_one_moment_are_ordered_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "now", lambda: "2030-01-01T00:00:00+00:00")
    file, log = sealed(tmp_path), tmp_path / "log"

    def opened() -> None:
        licence, listed = tmp_path / "l", tmp_path / "r"
        noli.open_sealed(file, licence, key=CUSTOMER, revocations=listed, log=log)

    for number, name in enumerate(("0" * 16, "1" * 16, licences.read_licence(tmp_path / "l").licence_id), 1):
        made = noli.revoke_licences(tmp_path / "r", [name], key=OWNER)
        assert made.number == number
        if number < 3:
            opened()
    with pytest.raises(LicenceRevoked):
        opened()
    before = (tmp_path / "r").read_bytes()
    assert noli.revoke_licences(tmp_path / "r", ["1" * 16, "0" * 16], key=OWNER) == made  # again
    assert (tmp_path / "r").read_bytes() == before


def test_licences_by_their_files_find_the_key_that_signed_them(tmp_path: Path) -> None:
    file, model = tmp_path / "o.key", tmp_path / "m.safetensors"
    noli.Key.new(file)
    model.write_bytes(safe_torch.save({"a": torch.zeros(2)}))
    for name in ("1", "2"):
        noli.seal(model, tmp_path / f"s{name}", key=file)
        noli.licence(tmp_path / f"s{name}", tmp_path / f"l{name}", key=file, to=noli.recipient(CUSTOMER))
        noli.Key.rotate(file)
    made = noli.revoke_licences(tmp_path / "r1", [str(tmp_path / "l1")], key=file)
    assert made.licences == (licences.read_licence(tmp_path / "l1").licence_id,)
    with pytest.raises(LicenceRevoked):
        noli.open_sealed(tmp_path / "s1", tmp_path / "l1", key=CUSTOMER, revocations=tmp_path / "r1")
    with pytest.raises(UsageError, match="another key than the list"):
        noli.revoke_licences(tmp_path / "r1", [str(tmp_path / "l2")], key=file)
    with pytest.raises(UsageError, match="several owner's keys"):
        noli.revoke_licences(tmp_path / "r", [str(tmp_path / f"l{n}") for n in (1, 2)], key=file)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("form", "more"), [("pp", {"block": 2}), ("np", {"negation": "max"})])
def test_a_lock_that_cannot_be_moved_is_not_sealed(tmp_path: Path, form: Form, more: dict[str, Any]) -> None:
    model = detector(("a",), width=8).eval()
    changing, lock = paper_lock(model, ["body.3"], OWNER, X, form, **more)
    without_change(changing, lock).save(tmp_path / "d.safetensors")
    name = "pp" if form == "pp" else "np with max"
    with pytest.raises(UsageError, match=f"A lock with {name} cannot be sealed") as error:
        noli.seal(tmp_path / "d.safetensors", tmp_path / "x", key=OWNER)
    assert "seal a detector without a lock" in str(error.value.fix)
    with pytest.raises(WrongKey):
        noli.seal(tmp_path / "d.safetensors", tmp_path / "x", key=OTHER)
    assert not (tmp_path / "x").exists()


def test_what_is_sealed_instead_of_such_a_lock_is_named_and_opens(tmp_path: Path) -> None:
    data = scenes(tmp_path / "shapes.zip", 24, side=64)
    few: dict[str, Any] = {"side": 64, "width": 8, "epochs": 1, "wrong_keys": 1, "held_out": 0.3}
    paper = {"mode": "paper", "transform": "pp", "block": 2, "layers": ("body.3",), "thief_pictures": 0}
    noli.lock_model(data, tmp_path / "out", "detector", key=OWNER, **few, **paper)
    with pytest.raises(UsageError, match="cannot be sealed") as error:
        noli.seal(tmp_path / "out", tmp_path / "x", key=OWNER)
    plain = tmp_path / "out.noli" / "artifacts" / "public.safetensors"
    assert str(plain) in str(error.value.fix)
    noli.seal(plain, tmp_path / "x", key=OWNER)
    noli.licence(tmp_path / "x", tmp_path / "l", key=OWNER, to=noli.recipient(CUSTOMER))
    found = noli.open_sealed(tmp_path / "x", tmp_path / "l", key=CUSTOMER)
    assert found.content == plain.read_bytes()
