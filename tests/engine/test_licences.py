"""Licences: one customer's, with an end, revocable, logged; nothing of it can be changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as safe_torch

import noli
from noli.api._seal import sealed_header
from noli.core.errors import (
    DataError,
    LicenceExpired,
    LicenceRefused,
    LicenceRevoked,
    NoliError,
    OutputExists,
    SealError,
    UsageError,
    WrongKey,
)
from noli.core.key import Key
from noli.core.sealed import seal, unseal
from noli.engine import licences
from noli.engine.licences import Licence, read_openings
from noli.engine.lock import held
from noli.zoo.detector import detector
from noli.zoo.locked_detector import fold_detector, read_locked

OWNER, CUSTOMER, OTHER = (Key.from_bytes(bytes([n]) * 32) for n in range(3))
X = torch.zeros(1, 3, 64, 64)
FAR = "2999-01-01"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A locked detector, sealed, with a licence."""
    model = detector(("a", "b"), width=8).eval()
    fold_detector(model, ["body.3"], OWNER, X).save(tmp_path / "model" / "detector.safetensors")
    model.save(tmp_path / "plain.safetensors")
    noli.seal(tmp_path / "model", tmp_path / "m.sealed", key=OWNER, label="first")
    to = noli.recipient(CUSTOMER)
    noli.licence(tmp_path / "m.sealed", tmp_path / "l", key=OWNER, to=to, customer="Clinic", until=FAR)
    return tmp_path


def opened(place: Path, key: Key = CUSTOMER, **more: Any) -> licences.Opened:
    return noli.open_sealed(place / "m.sealed", place / "l", key=key, **more)


def outcomes(log: Path) -> list[str]:
    return [one.outcome for one in read_openings(log)]


def test_the_customer_has_the_detector_in_memory_and_nothing_on_disk(place: Path) -> None:
    before = sorted(place.rglob("*"))
    found = opened(place)
    model = noli.opened_detector(found)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    own = detector(("a", "b"), width=8).eval()
    assert np.array_equal(model.predict(images), own.predict(images))
    assert sorted(place.rglob("*")) == before
    assert found.header.layers == ["body.3"]
    assert len(repr(found)) < 2000  # no weights, and no key


def test_every_customer_gets_weights_of_his_own_under_a_key_of_his_own(place: Path) -> None:
    noli.seal(place / "model", place / "second.sealed", key=OWNER)
    noli.licence(place / "second.sealed", place / "l2", key=OWNER, to=noli.recipient(OTHER))
    one, two = opened(place), noli.open_sealed(place / "second.sealed", place / "l2", key=OTHER)
    inside = [read_locked(part.content, "it") for part in (one, two)]
    assert inside[0].stolen.weight_hash() != inside[1].stolen.weight_hash()
    assert noli.opened_detector(one).weight_hash() == noli.opened_detector(two).weight_hash()
    with pytest.raises(WrongKey):
        inside[0].opened(OWNER)
    with pytest.raises(LicenceRefused, match="another file"):
        noli.open_sealed(place / "second.sealed", place / "l", key=CUSTOMER)


def test_other_customers_are_refused(place: Path) -> None:
    for key in (OTHER, OWNER):
        with pytest.raises(WrongKey, match="another customer"):
            opened(place, key)


def test_a_licence_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = datetime(2999, 1, 1, tzinfo=UTC)
    for moment, fine in ((end - timedelta(seconds=1), True), (end, False), (end + timedelta(days=1), False)):
        monkeypatch.setattr(licences, "now", lambda moment=moment: moment.isoformat())
        if fine:
            assert opened(place).licence.customer == "Clinic"
        else:
            with pytest.raises(LicenceExpired):
                opened(place)


def test_a_licence_is_revoked(place: Path) -> None:
    name = licences.read_licence(place / "l").licence_id
    noli.revoke_licences(place / "r", ["0" * 16], key=OWNER)
    assert opened(place, revocations=place / "r")
    first = (place / "r").read_bytes()
    made = noli.revoke_licences(place / "r", [name], key=OWNER)
    assert (made.number, made.licences) == (2, tuple(sorted(["0" * 16, name])))
    log = place / "log"
    for _ in range(2):
        with pytest.raises(LicenceRevoked):
            opened(place, revocations=place / "r", log=log)
    # Leaving the list out, or taking the older one, does not help where the log is kept.
    with pytest.raises(LicenceRevoked):
        opened(place, log=log)
    (place / "old").write_bytes(first)
    with pytest.raises(LicenceRevoked):
        opened(place, revocations=place / "old", log=log)
    assert outcomes(log) == ["LicenceRevoked"] * 4
    with pytest.raises(SealError):  # another owner's list
        noli.revoke_licences(place / "r", [name], key=OTHER)
    with pytest.raises(UsageError, match="no id"):
        noli.revoke_licences(place / "r", ["my licence"], key=OWNER)


def test_a_list_must_not_get_older(place: Path) -> None:
    noli.revoke_licences(place / "r", ["0" * 16], key=OWNER)
    old = (place / "r").read_bytes()
    noli.revoke_licences(place / "r", ["1" * 16], key=OWNER)
    opened(place, revocations=place / "r", log=place / "log")
    (place / "r").write_bytes(old)
    with pytest.raises(LicenceRefused, match="older"):
        opened(place, revocations=place / "r", log=place / "log")


@pytest.mark.parametrize("file", ["l", "r"])
def test_every_changed_byte_of_a_licence_or_list_is_noticed(place: Path, file: str) -> None:
    noli.revoke_licences(place / "r", ["0" * 16], key=OWNER)
    data = (place / file).read_bytes()
    for spot in range(0, len(data)):
        broken = bytearray(data)
        broken[spot] ^= 1
        (place / file).write_bytes(bytes(broken))
        with pytest.raises(SealError):
            opened(place, revocations=place / "r")


def test_a_customer_cannot_write_himself_a_longer_licence(place: Path) -> None:
    made = licences.read_licence(place / "l")
    longer = made.model_copy(update={"expires": None})
    signed = longer.model_copy(update={"signature": licences.sign(CUSTOMER, longer.canonical("signature"))})
    own = signed.model_copy(update={"owner": licences.public_key(CUSTOMER)})
    own = own.model_copy(update={"signature": licences.sign(CUSTOMER, own.canonical("signature"))})
    for forged, error in ((longer, SealError), (signed, SealError), (own, LicenceRefused)):
        (place / "l").write_bytes(forged.canonical())
        with pytest.raises(error):
            opened(place)


def test_a_customer_cannot_seal_other_content_for_other_customers(place: Path) -> None:
    found, header = opened(place), sealed_header(place / "m.sealed")
    drawn = {"format", "version", "scheme", "key_id", "check_value", "size", "nonce"}
    told = header.model_dump(exclude=drawn)
    forged = seal(b"something else", found.key, **told)
    assert unseal(forged, found.key, "forged") == b"something else"  # the content key alone believes it
    (place / "m.sealed").write_bytes(forged)
    with pytest.raises(SealError, match="byte for byte"):
        opened(place)


def test_a_damaged_file_gets_no_licence(place: Path) -> None:
    data = bytearray((place / "m.sealed").read_bytes())
    data[-1] ^= 1
    (place / "m.sealed").write_bytes(bytes(data))
    with pytest.raises(SealError, match="something in it was changed"):
        noli.licence(place / "m.sealed", place / "new", key=OWNER, to=noli.recipient(CUSTOMER))
    assert not (place / "new").exists()


def test_the_log_notes_every_try_and_cannot_be_changed_unnoticed(place: Path) -> None:
    log = place / "log"
    opened(place, log=log)
    with pytest.raises(WrongKey):
        opened(place, OTHER, log=log)
    opened(place, log=log)
    assert outcomes(log) == ["opened", "WrongKey", "opened"]
    data = log.read_bytes()
    rows = data.splitlines(keepends=True)
    changes: list[bytes] = [
        rows[0] + rows[2],
        rows[1] + rows[2],
        data.replace(b"WrongKey", b"opened", 1),
        data[:-5],
    ]
    for broken in changes:
        log.write_bytes(broken)
        with pytest.raises(SealError):
            opened(place, log=log)
        assert log.read_bytes() == broken
    log.write_bytes(data)
    opened(place, log=log)
    assert log.read_bytes().startswith(data)  # only ever added to


def test_nothing_is_opened_that_cannot_be_noted(place: Path) -> None:
    (place / "folder").mkdir()
    with pytest.raises(NoliError):
        opened(place, log=place / "folder")


def test_a_clock_that_was_set_back_is_noticed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, moment = place / "log", datetime(2998, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(licences, "now", lambda: moment.isoformat())
    opened(place, log=log)
    monkeypatch.setattr(licences, "now", lambda: (moment - timedelta(minutes=4)).isoformat())
    opened(place, log=log)
    monkeypatch.setattr(licences, "now", lambda: (moment - timedelta(days=1)).isoformat())
    for _ in range(3):  # refused tries are noted with the time that was set back, which must not help
        with pytest.raises(LicenceRefused, match="clock"):
            opened(place, log=log)
    monkeypatch.setattr(licences, "now", lambda: (moment + timedelta(days=1)).isoformat())
    opened(place, log=log)


def test_other_files_are_sealed_as_they_are(place: Path) -> None:
    made = noli.seal(place / "plain.safetensors", place / "p.sealed", key=OWNER)
    assert made.kind == "safetensors"
    noli.licence(place / "p.sealed", place / "pl", key=OWNER, to=noli.recipient(CUSTOMER))
    found = noli.open_sealed(place / "p.sealed", place / "pl", key=CUSTOMER)
    assert found.content == (place / "plain.safetensors").read_bytes()
    assert safe_torch.load(found.content)
    with pytest.raises(UsageError, match="no locked detector"):
        noli.opened_detector(found)


def licensed(place: Path, file: str = "m.sealed", key: Key = OWNER, **more: Any) -> Licence:
    return noli.licence(place / file, place / "x", key=key, **{"to": noli.recipient(CUSTOMER), **more})


REFUSED: dict[str, tuple[type[NoliError], Callable[[Path], object]]] = {
    "another lock": (WrongKey, lambda p: noli.seal(p / "model", p / "x", key=OTHER)),
    "no safetensors": (DataError, lambda p: noli.seal(p / "l", p / "x", key=OWNER)),
    "no file": (DataError, lambda p: noli.seal(p / "none", p / "x", key=OWNER)),
    "no key": (UsageError, lambda p: noli.seal(p / "model", p / "x", key=None)),
    "a folder of something else": (UsageError, lambda p: noli.seal(p, p / "x", key=OWNER)),
    "taken": (OutputExists, lambda p: noli.seal(p / "model", p / "l", key=OWNER)),
    "another owner": (WrongKey, lambda p: licensed(p, key=OTHER)),
    "no recipient": (UsageError, lambda p: licensed(p, to="noli1:00:00")),
    "mistyped": (UsageError, lambda p: licensed(p, to=noli.recipient(CUSTOMER)[:-1] + "g")),
    "no time": (UsageError, lambda p: licensed(p, until="soon")),
    "no zone": (UsageError, lambda p: licensed(p, until="2999-01-01T10:00")),
    "before all calendars": (UsageError, lambda p: licensed(p, until="0001-01-01T00:00:00+14:00")),
    "after all calendars": (UsageError, lambda p: licensed(p, until="9999-12-31T23:59:59-12:00")),
    "long name": (UsageError, lambda p: licensed(p, customer="c" * 201)),
    "unprintable": (UsageError, lambda p: licensed(p, customer="\ud800")),
    "over": (UsageError, lambda p: licensed(p, until="2001-01-01")),
    "not sealed": (SealError, lambda p: licensed(p, "l")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_leaves_nothing(place: Path, name: str) -> None:
    error, call = REFUSED[name]
    with pytest.raises(error):
        call(place)
    assert not (place / "x").exists()


def test_what_was_sealed_before_a_rotation_is_licensed_after_it(place: Path) -> None:
    file = place / "o.key"
    noli.Key.new(file)
    noli.seal(place / "plain.safetensors", place / "p.sealed", key=file)
    noli.Key.rotate(file)
    noli.licence(place / "p.sealed", place / "pl", key=file, to=noli.recipient(CUSTOMER))
    assert noli.open_sealed(place / "p.sealed", place / "pl", key=CUSTOMER).header.kind == "safetensors"
    old = noli.Key.load(file, key_id=noli.Key.keyring(file)[0]["id"])
    with pytest.raises(UsageError, match="retired"):
        noli.seal(place / "plain.safetensors", place / "x", key=old)


def test_the_wrapping_is_that_of_its_parts(place: Path) -> None:
    """The content key by hand: X25519, HKDF over both public keys, AES-GCM with the licence as header."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    made: Licence = licences.read_licence(place / "l")
    private = X25519PrivateKey.from_private_bytes(CUSTOMER.subkey("noli/v1/licence/recipient"))
    sender = bytes.fromhex(made.ephemeral)
    shared = private.exchange(X25519PublicKey.from_public_bytes(sender))
    salt = sender + bytes.fromhex(made.recipient)
    wrap = HKDF(SHA256(), length=32, salt=salt, info=b"noli/v1/licence/wrap").derive(shared)
    header = made.canonical("wrapped", "signature")
    secret = AESGCM(wrap).decrypt(bytes.fromhex(made.nonce), bytes.fromhex(made.wrapped), header)
    assert Key.from_bytes(secret) == opened(place).key
    assert Key.from_bytes(secret) == Key.from_bytes(OWNER.subkey(f"noli/v1/lock/seal/{made.seal_id}"))


def second_licence(place: Path, owner: Key = OWNER, name: str = "2") -> Path:
    """Another file of an owner, licensed to the same customer; return the file, the licence lies beside."""
    file = place / f"{name}.sealed"
    noli.seal(place / "plain.safetensors", file, key=owner)
    noli.licence(file, place / f"{name}.licence", key=owner, to=noli.recipient(CUSTOMER))
    return file


def test_the_number_of_a_list_is_noted_whatever_came_of_the_try(place: Path) -> None:
    log, file = place / "log", second_licence(place)
    noli.revoke_licences(place / "r", ["0" * 16], key=OWNER)
    (place / "old").write_bytes((place / "r").read_bytes())
    noli.revoke_licences(place / "r", [licences.read_licence(place / "l").licence_id], key=OWNER)
    with pytest.raises(LicenceRevoked):
        opened(place, revocations=place / "r", log=log)
    with pytest.raises(LicenceRefused, match="older"):
        noli.open_sealed(file, place / "2.licence", key=CUSTOMER, revocations=place / "old", log=log)
    with pytest.raises(WrongKey):  # refused before the list is looked at
        opened(place, OTHER, revocations=place / "r", log=log)
    assert [one.revocations for one in read_openings(log)] == [2, 1, 0]
    noli.open_sealed(file, place / "2.licence", key=CUSTOMER, revocations=place / "r", log=log)


def test_lists_of_several_owners_share_a_log(place: Path) -> None:
    log, file = place / "log", second_licence(place, OTHER)
    for digit in "012":
        noli.revoke_licences(place / "r", [digit * 16], key=OWNER)
    noli.revoke_licences(place / "r2", ["0" * 16], key=OTHER)
    opened(place, revocations=place / "r", log=log)
    noli.open_sealed(file, place / "2.licence", key=CUSTOMER, revocations=place / "r2", log=log)
    found = [(one.owner, one.revocations) for one in read_openings(log)]
    assert found == [(licences.public_key(OWNER), 3), (licences.public_key(OTHER), 1)]


def test_lines_from_before_owners_were_noted_are_read_and_count_for_all(place: Path) -> None:
    log, made = place / "log", licences.read_licence(place / "l")
    old = {"licence_id": made.licence_id, "number": 0, "outcome": "opened", "previous": "0" * 64,
           "revocations": 2, "seal_id": made.seal_id, "time": "2020-01-01T00:00:00.000+00:00"}  # fmt: skip
    log.write_bytes(json.dumps(old, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    noli.revoke_licences(place / "r", ["0" * 16], key=OWNER)
    with pytest.raises(LicenceRefused, match="older"):
        opened(place, revocations=place / "r", log=log)
    noli.revoke_licences(place / "r", ["1" * 16], key=OWNER)
    opened(place, revocations=place / "r", log=log)
    assert [one.owner for one in read_openings(log)] == [None] + [licences.public_key(OWNER)] * 2


def test_a_list_that_others_change_waits_for_its_turn(place: Path) -> None:
    with held(place / "r.lock"), pytest.raises(UsageError, match="Another process"):
        noli.revoke_licences(place / "r", ["0" * 16], key=OWNER)
    names = [f"{n:016x}" for n in range(40)]

    def add(name: str) -> None:
        noli.revoke_licences(place / "r", [name], key=OWNER)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    made = licences.read_revocations(place / "r", licences.public_key(OWNER))
    assert (made.number, list(made.licences)) == (40, names)


def test_rotated_files_of_owner_and_customer_still_revoke_and_open(place: Path) -> None:
    owner, customer = place / "o.key", place / "c.key"
    noli.Key.new(owner)
    noli.Key.new(customer)
    noli.seal(place / "plain.safetensors", place / "p.sealed", key=owner)
    made = noli.licence(place / "p.sealed", place / "pl", key=owner, to=noli.recipient(customer))
    noli.revoke_licences(place / "r", ["0" * 16], key=owner)
    for file in (owner, customer):
        noli.Key.rotate(file)
        noli.Key.rotate(file)

    def tried() -> licences.Opened:
        return noli.open_sealed(place / "p.sealed", place / "pl", key=customer, revocations=place / "r")

    assert tried().content == (place / "plain.safetensors").read_bytes()
    assert noli.revoke_licences(place / "r", [made.licence_id], key=owner).owner == made.owner
    with pytest.raises(LicenceRevoked):
        tried()
    # A new list is the active key's; one of another owner, or of a key that was revoked, is nobody's here.
    active = licences.public_key(noli.Key.load(owner))
    assert noli.revoke_licences(place / "new", ["0" * 16], key=owner).owner == active
    noli.Key.revoke(owner, noli.Key.keyring(owner)[0]["id"])
    with pytest.raises(SealError, match="not signed by"):
        noli.revoke_licences(place / "r", ["1" * 16], key=owner)
    noli.Key.revoke(customer, noli.Key.keyring(customer)[0]["id"])
    with pytest.raises(WrongKey, match="another customer"):
        tried()


def test_only_files_of_the_owner_who_is_expected_are_opened(place: Path) -> None:
    log, owner, other = place / "log", licences.public_key(OWNER), licences.public_key(OTHER)
    for told in (owner, owner[:16], owner[:40].upper()):
        assert opened(place, owner=told, log=log).header.owner == owner
    for told in (other, other[:16], owner[:-1] + "0123456789abcdef".replace(owner[-1], "")[0]):
        with pytest.raises(LicenceRefused, match="another owner"):
            opened(place, owner=told, log=log)
    assert outcomes(log) == ["opened"] * 3 + ["LicenceRefused"] * 3
    for told in ("", owner[:15], owner + "0", "my friend the owner"):
        with pytest.raises(UsageError, match="no public key of an owner"):
            opened(place, owner=told, log=log)
    assert len(outcomes(log)) == 6
