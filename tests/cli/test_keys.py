"""noli key: new, commit, show, rotate, revoke, and passphrases without a terminal."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noli.core import keyfile
from noli.core.key import Key

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**14)


def test_new_makes_a_private_file_and_prints_public_facts(noli: Run, tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    done = noli("key", "new", path, "--label", "museum", "--json")
    assert done.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = Key.load(path)
    assert done.json == {"file": str(path), **key.public()}
    assert key.label == "museum"
    assert key.export_secret().hex() not in done.out + done.err


def test_new_never_overwrites(noli: Run, tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    noli("key", "new", path)
    before = path.read_bytes()
    done = noli("key", "new", path)
    assert (done.code, path.read_bytes()) == (2, before)
    assert str(path) in done.err


def test_commit_prints_one_line_for_scripts(noli: Run, tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    key = Key.new(path)
    assert noli("key", "commit", path).out == key.commit() + "\n"
    assert noli("key", "commit", path, "--json").json == {"commitment": key.commit()}


def test_rotate_show_and_revoke(noli: Run, tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    old = Key.new(path, label="l")
    new = noli("key", "rotate", path, "--json").json
    ring = noli("key", "show", path, "--public", "--json").json["keys"]
    assert [(k["id"], k["state"]) for k in ring] == [(old.id, "decrypt-only"), (new["id"], "active")]
    assert noli("key", "revoke", path, old.id).code == 0
    table = noli("key", "show", path).out
    assert "revoked" in table
    assert new["commitment"] in table
    assert noli("key", "revoke", path, "0" * 16).code == 4


def test_passphrase_from_file_environment_or_not_at_all(
    noli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, secret = tmp_path / "owner.key", tmp_path / "phrase"
    secret.write_text("correct horse\n")
    assert noli("key", "new", path, "--passphrase-file", secret).code == 0
    commitment = Key.load(path, passphrase="correct horse").commit()
    assert noli("key", "commit", path, "--passphrase-file", secret).out.strip() == commitment
    refused = noli("key", "commit", path)
    assert refused.code == 4
    assert "NOLI_PASSPHRASE" in refused.err
    monkeypatch.setenv("NOLI_PASSPHRASE", "correct horse")
    assert noli("key", "commit", path).out.strip() == commitment
    assert noli("key", "rotate", path).code == 0
    monkeypatch.setenv("NOLI_PASSPHRASE", "wrong")
    done = noli("key", "commit", path)
    assert done.code == 4
    assert "wrong" not in done.err.replace("wrong passphrase", "").replace("wrong Passphrase", "").split()


def test_a_bad_passphrase_file_is_a_usage_error(noli: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert noli("key", "new", tmp_path / "k", "--passphrase-file", empty).code == 2
    assert noli("key", "new", tmp_path / "k", "--passphrase-file", tmp_path / "absent").code == 2
    assert not (tmp_path / "k").exists()


def test_a_missing_key_file_is_a_data_error(noli: Run, tmp_path: Path) -> None:
    done = noli("key", "commit", tmp_path / "absent.key", "--json")
    assert done.code == 4
    assert '"type": "KeyFileError"' in done.err


def test_a_prompt_comes_only_on_a_terminal(
    noli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def prompt(text: str, *, hide_input: bool, confirmation_prompt: bool, err: bool) -> str:
        asked.append((text, confirmation_prompt))
        assert hide_input
        assert err
        return "typed"

    monkeypatch.setattr("typer.prompt", prompt)
    path = tmp_path / "owner.key"
    assert noli("key", "new", path, "--passphrase").code == 4
    assert asked == []
    monkeypatch.setattr("noli.cli.shared._on_a_terminal", lambda: True)
    assert noli("key", "new", path, "--passphrase").code == 0
    assert noli("key", "commit", path).code == 0
    assert asked == [(f"Passphrase for {path}", True), (f"Passphrase for {path}", False)]
    assert Key.load(path, passphrase="typed")
