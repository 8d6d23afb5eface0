"""The commands of a seal, from the customer's key to what an opened file holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import noli
from boxes_making import scenes
from noli.cli.main import main

Capture = pytest.CaptureFixture[str]


def ran(capsys: Capture, *words: object) -> dict[str, object]:
    assert main([*map(str, words), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_from_a_lock_to_a_licensed_customer(tmp_path: Path, capsys: Capture) -> None:
    owner, customer, model = tmp_path / "o.key", tmp_path / "c.key", tmp_path / "model"
    for key in (owner, customer):
        ran(capsys, "key", "new", key)
    data = scenes(tmp_path / "s.zip", 16, side=64)
    few = ["--side", 64, "--epochs", 1, "--wrong-keys", 2, "--set", "width=8", "--set", "held_out=0.4",
           "--layers", "body.1,body.3"]  # fmt: skip
    assert main([*map(str, ["lock", "detector", data, "-o", model, "--key", owner, *few])]) == 0
    shown = capsys.readouterr()
    assert "no cryptography" in shown.err
    for words in ("worst wrong key", "mAP@[.5:.95]", "wrong places", "body.3"):
        assert words in shown.out
    sealed, licence, log = tmp_path / "m.sealed", tmp_path / "m.licence", tmp_path / "m.log"
    made = ran(capsys, "lock", "seal", model, "-o", sealed, "--key", owner)
    assert made["kind"] == "locked-detector"
    assert made["layers"] == ["body.1", "body.3"]
    to = ran(capsys, "lock", "recipient", customer)["recipient"]
    name = ran(capsys, "lock", "licence", sealed, "-o", licence, "--key", owner, "--to", to)["licence_id"]
    found = ran(capsys, "lock", "open", sealed, "--key", customer, "--licence", licence, "--log", log)
    assert found["arch"] == "small-detector"
    assert found["owner"] == made["owner"]
    told = ["lock", "open", sealed, "--key", customer, "--licence", licence, "--owner"]
    assert main([*map(str, told), str(made["owner"])[:16]]) == 0
    assert str(made["owner"])[:16] in capsys.readouterr().out
    assert main([*map(str, told), "0" * 16]) == 4
    assert "another owner" in capsys.readouterr().err
    assert found["classes"] == ["disc", "square"]
    revoked = tmp_path / "r"
    assert ran(capsys, "lock", "revoke", name, "-o", revoked, "--key", owner)["licences"] == [name]
    words = ["lock", "open", sealed, "--key", customer, "--licence", licence, "--revocations", revoked]
    assert main([*map(str, words)]) == 4
    assert "revoked" in capsys.readouterr().err
    assert len(log.read_bytes().splitlines()) == 1


def test_rotated_keys_with_a_passphrase(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOLI_PASSPHRASE", "correct horse")
    owner, customer, model = tmp_path / "o.key", tmp_path / "c.key", tmp_path / "m.safetensors"
    model.write_bytes(safetensors.numpy.save({"a": np.zeros(2, np.float32)}))
    for key in (owner, customer):
        noli.Key.new(key, passphrase="correct horse")
    sealed, licence, revoked = tmp_path / "s", tmp_path / "l", tmp_path / "r"
    ran(capsys, "lock", "seal", model, "-o", sealed, "--key", owner)
    to = ran(capsys, "lock", "recipient", customer)["recipient"]
    ran(capsys, "lock", "licence", sealed, "-o", licence, "--key", owner, "--to", to)
    ran(capsys, "lock", "revoke", "0" * 16, "-o", revoked, "--key", owner)
    for key in (owner, customer):
        noli.Key.rotate(key, passphrase="correct horse")
    words = ("lock", "open", sealed, "--key", customer, "--licence", licence, "--revocations", revoked)
    assert ran(capsys, *words)["kind"] == "safetensors"
    assert ran(capsys, "lock", "revoke", "1" * 16, "-o", revoked, "--key", owner)["number"] == 2
    assert ran(capsys, *words)["kind"] == "safetensors"
    first = noli.Key.keyring(owner)[0]["id"]
    ran(capsys, "lock", "revoke", "1" * 16, "-o", tmp_path / "new", "--key", owner, "--key-id", first)
    assert ran(capsys, *words[:-1], tmp_path / "new")["kind"] == "safetensors"
