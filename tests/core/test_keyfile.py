import hashlib
import hmac
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes

from noli.core import keyfile
from noli.core.errors import KeyFileError, NoliError, OutputExists, UsageError, WrongKey
from noli.core.key import Key

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**14)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "owner.key"


def edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    entry = document["keys"][0]
    for name, value in changes.items():
        (entry if name in entry else document)[name] = value
    path.write_text(json.dumps(document))


# ---------------------------------------------------------------------- new and load


def test_new_then_load(path: Path) -> None:
    made = Key.new(path, label="museum")
    loaded = Key.load(path)
    assert loaded == made
    assert loaded.public() == made.public()
    assert loaded.label == "museum"
    assert loaded.stream("p", "i").bytes(8) == made.stream("p", "i").bytes(8)
    assert Key.load(str(path), key_id=made.id) == made
    assert os.listdir(path.parent) == ["owner.key"]  # noqa: PTH208


def test_file_content(path: Path) -> None:
    key = Key.new(path, label="x")
    document = json.loads(path.read_text())
    assert document == {
        "format": "noli-key",
        "version": 1,
        "label": "x",
        "keys": [
            {
                "key_id": key.id,
                "created": key.created,
                "state": "active",
                "check_value": key.check_value,
                "commitment": key.commit(),
                "secret": key.export_secret().hex(),
            }
        ],
    }


@posix_only
def test_mode_is_0600_whatever_the_umask(tmp_path: Path) -> None:
    for mask in (0o000, 0o077, 0o277):
        before = os.umask(mask)
        try:
            Key.new(tmp_path / f"{mask}.key")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{mask}.key").stat().st_mode) == 0o600


def test_never_overwrites(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(OutputExists, match="never overwritten"):
        Key.new(path)
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]


def test_only_one_of_many_simultaneous_makers_wins(path: Path) -> None:
    results: list[Key | NoliError] = []

    def make() -> None:
        try:
            results.append(Key.new(path))
        except NoliError as error:
            results.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [r for r in results if isinstance(r, Key)]
    assert len(keys) == 1
    assert len(results) == 8
    assert Key.load(path) == keys[0]


def test_failed_write_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(keyfile.os, "fsync", full)
        with pytest.raises(KeyFileError, match="No space left"):
            Key.new(path)
    assert list(path.parent.iterdir()) == []
    Key.new(path)


def test_missing_folder_and_missing_file(path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"folder, does not exist"):
        Key.new(path.parent / "none" / "x.key")
    with pytest.raises(KeyFileError, match=r"does not exist.*noli key new .*owner\.key"):
        Key.load(path)
    with pytest.raises(KeyFileError, match="does not exist"):
        Key.rotate(path)
    assert list(path.parent.iterdir()) == []


@posix_only
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o601, 0o620])
def test_open_mode_is_refused_with_the_exact_command(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my keys.key"
    key = Key.new(path)
    path.chmod(mode)
    for read in (Key.load, Key.keyring, Key.rotate):
        with pytest.raises(KeyFileError) as caught:
            read(path)
        assert caught.value.fix == f"chmod 600 '{path}'"
        assert f"{mode:04o}" in str(caught.value.why)
    path.chmod(0o400)
    assert Key.load(path) == key


def test_odd_files(path: Path) -> None:
    path.mkdir()
    with pytest.raises(KeyFileError, match="directory"):
        Key.load(path)
    big = path / "big"
    big.write_bytes(b" " * (2**20 + 1))
    big.chmod(0o600)
    with pytest.raises(KeyFileError, match="no key file"):
        Key.load(big)


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "text", ["", "   \n", "{", "[]", "null", "\ufeff{}", '{"format": "noli-key"}', "\0" * 300]
)
def test_damaged_json(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    for read in (Key.load, Key.keyring, Key.rotate):
        with pytest.raises(KeyFileError, match=r"empty|damaged") as caught:
            read(path)
        assert caught.value.where == str(path)
        assert caught.value.__context__ is None
    assert path.read_text() == text


def test_not_utf8(path: Path) -> None:
    path.write_bytes(b'{"label": "\xff\xfe"}')
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="damaged"):
        Key.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret": "00" * 32}, "check value does not fit"),
        ({"check_value": "0" * 16}, "check value does not fit"),
        ({"key_id": "0" * 16}, "check value does not fit"),
        ({"commitment": "0" * 64}, "check value does not fit"),
        ({"secret": "00" * 31}, r"secret: .*\{64\}"),
        ({"secret": "zz" * 32}, r"secret: .*\{64\}"),
        ({"secret": 5}, "secret"),
        ({"secret": None}, "needs its passphrase"),
        ({"state": "superb"}, "state"),
        ({"created": "yesterday\n"}, "created"),
        ({"format": "ssh-key"}, "format"),
        ({"keys": []}, "keys"),
        ({"new_field": 1}, "unknown field"),
    ],
)
def test_changed_fields(path: Path, changes: dict[str, Any], message: str) -> None:
    Key.new(path)
    edit(path, **changes)
    with pytest.raises(KeyFileError, match=message):
        Key.load(path)


def test_later_version(path: Path) -> None:
    Key.new(path)
    edit(path, version=2)
    with pytest.raises(KeyFileError, match="update noli"):
        Key.load(path)


# ---------------------------------------------------------------------- passphrase


def test_passphrase(path: Path) -> None:
    key = Key.new(path, label="ward 3", passphrase="ünï")
    assert key.export_secret().hex() not in path.read_text()
    assert Key.load(path, passphrase="ünï") == key
    assert Key.keyring(path)[0]["commitment"] == key.commit()
    for wrong in ("uni", "", "ünï "):
        with pytest.raises(KeyFileError, match="passphrase is wrong"):
            Key.load(path, passphrase=wrong)
    with pytest.raises(KeyFileError, match="needs its passphrase"):
        Key.load(path)


def test_passphrase_for_a_plain_file(path: Path) -> None:
    Key.new(path)
    for read in (Key.load, Key.rotate):
        with pytest.raises(KeyFileError, match="no passphrase protects"):
            read(path, passphrase="x")


def test_empty_passphrase_makes_no_file(path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        Key.new(path, passphrase="")
    assert not path.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("label", "someone else"), ("created", "2020-01-01"), ("check_value", "0" * 16), ("key_id", "0" * 16)],
)
def test_header_is_authenticated(path: Path, field: str, value: str) -> None:
    Key.new(path, passphrase="p")
    edit(path, **{field: value})
    with pytest.raises(KeyFileError, match="or the file was changed"):
        Key.load(path, passphrase="p")


@pytest.mark.parametrize("n", [2, 2**13, 2**14 + 1, 2**21, 2**62, -1])
def test_absurd_scrypt_cost_is_refused_at_once(path: Path, n: int) -> None:
    Key.new(path, passphrase="p")
    document = json.loads(path.read_text())
    document["keys"][0]["wrapped"]["n"] = n
    path.write_text(json.dumps(document))
    with pytest.raises(KeyFileError, match=r"wrapped\.n"):
        Key.load(path, passphrase="p")


# ---------------------------------------------------------------------- rotation and revocation


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_rotate_keeps_old_keys_loadable(path: Path, passphrase: str | None) -> None:
    first = Key.new(path, label="lab", passphrase=passphrase)
    second = Key.rotate(path, passphrase=passphrase)
    third = Key.rotate(path, passphrase=passphrase)
    assert len({first, second, third}) == 3
    assert Key.load(path, passphrase=passphrase) == third
    assert third.label == "lab"
    old = Key.load(path, passphrase=passphrase, key_id=first.id)
    assert old == first
    assert old.state == "decrypt-only"
    assert old.label == "lab"
    ring = Key.keyring(path)
    assert [e["id"] for e in ring] == [first.id, second.id, third.id]
    assert [e["state"] for e in ring] == ["decrypt-only", "decrypt-only", "active"]
    assert [e["passphrase"] for e in ring] == [passphrase is not None] * 3
    assert list(path.parent.iterdir()) == [path]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotate_with_the_wrong_passphrase_changes_nothing(path: Path) -> None:
    Key.new(path, passphrase="p")
    before = path.read_bytes()
    for wrong in ("q", None):
        with pytest.raises(KeyFileError, match="passphrase"):
            Key.rotate(path, passphrase=wrong)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_rotate_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Key.new(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(KeyFileError, match="Input/output"):
            Key.rotate(path)
    assert Key.load(path) == key
    assert list(path.parent.iterdir()) == [path]


def test_a_change_under_way_blocks_a_second_one(path: Path) -> None:
    key = Key.new(path)
    (path.parent / "owner.key.new").touch()
    for change in (lambda: Key.rotate(path), lambda: Key.revoke(path, key.id)):
        with pytest.raises(KeyFileError, match=r"delete .*owner\.key\.new"):
            change()
    assert Key.load(path) == key
    assert (path.parent / "owner.key.new").exists()  # another process's: not ours to remove


def test_simultaneous_rotations_lose_no_key(path: Path) -> None:
    made = [Key.new(path)]

    def turn() -> None:
        try:
            made.append(Key.rotate(path))
        except KeyFileError as error:
            assert "another process" in str(error)  # noqa: PT017

    threads = [threading.Thread(target=turn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry["id"] for entry in Key.keyring(path)} == {key.id for key in made}
    assert len(made) >= 2


@posix_only
def test_rotate_follows_a_symlink(path: Path, tmp_path: Path) -> None:
    Key.new(path)
    link = tmp_path / "link.key"
    link.symlink_to(path)
    second = Key.rotate(link)
    assert link.is_symlink()
    assert Key.load(path) == Key.load(link) == second


def test_revoke(path: Path) -> None:
    first = Key.new(path)
    second = Key.rotate(path)
    Key.revoke(path, first.id)
    Key.revoke(path, first.id)
    assert [e["state"] for e in Key.keyring(path)] == ["revoked", "active"]
    with pytest.raises(KeyFileError, match="revoked"):
        Key.load(path, key_id=first.id)
    Key.revoke(path, second.id)
    with pytest.raises(KeyFileError, match="No key of this file is active"):
        Key.load(path)
    third = Key.rotate(path)
    assert Key.load(path) == third
    assert [e["state"] for e in Key.keyring(path)] == ["revoked", "revoked", "active"]


def test_unknown_key_id(path: Path) -> None:
    key = Key.new(path)
    for call in (lambda: Key.load(path, key_id="0" * 16), lambda: Key.revoke(path, "0" * 16)):
        with pytest.raises(WrongKey, match=key.id):
            call()
    assert list(path.parent.iterdir()) == [path]


def test_keyring_tells_no_secret(path: Path) -> None:
    key = Key.new(path, label="l")
    assert Key.keyring(path) == [{**key.public(), "passphrase": False}]
    assert key.export_secret().hex() not in json.dumps(Key.keyring(path))


# ---------------------------------------------------------------------- public values


def test_public_values_from_their_definitions() -> None:
    raw = bytes(range(32))
    assert keyfile.public_values(SecretBytes(raw)) == {
        "key_id": hashlib.sha256(b"keyid" + raw).hexdigest()[:16],
        "check_value": hmac.new(raw, b"kcv", hashlib.sha256).hexdigest()[:16],
        "commitment": hashlib.sha256(b"noli/v1/key-commitment\0" + raw).hexdigest(),
    }


def test_public_values_golden() -> None:
    # public_values(SecretBytes(bytes(range(32))))
    assert keyfile.public_values(SecretBytes(bytes(range(32)))) == {
        "key_id": "f822866f917fdbc5",
        "check_value": "a54bef73cda91d90",
        "commitment": "f2502bc9b79c9048a9232cb5331849f2f258fbcadcfaf26740fd792f2119570f",
    }


def test_what_is_no_key_is_said_before_its_mode(tmp_path: Path) -> None:
    picture = tmp_path / "02.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0 a picture")
    picture.chmod(0o644)
    with pytest.raises(KeyFileError, match="no key file"):
        Key.load(picture)
