import hashlib
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretBytes, SecretStr, ValidationError

from noli.core import keyfile
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.keyfile import SCRYPT_N, Wrapped

RAW = bytes(range(32))
HEADER = {"format": "noli-key", "key_id": "00", "label": "ü"}
N = 2**14
PHRASE = SecretStr("pass")


@pytest.fixture
def wrapped(monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    monkeypatch.setattr(keyfile, "SCRYPT_N", N)
    return Wrapped.seal(SecretBytes(RAW), PHRASE, HEADER)


def test_round_trip_and_wrong_passphrase(wrapped: Wrapped) -> None:
    assert wrapped.open(PHRASE, HEADER).get_secret_value() == RAW
    with pytest.raises(InvalidTag):
        wrapped.open(SecretStr("Pass"), HEADER)


def test_is_scrypt_and_aes_gcm_as_documented(wrapped: Wrapped) -> None:
    # The same with the standard library's scrypt and the header written out by hand.
    wrapping_key = hashlib.scrypt(b"pass", salt=bytes.fromhex(wrapped.salt), n=N, r=8, p=1, dklen=32)
    canonical = (
        '{"format":"noli-key","key_id":"00","label":"\\u00fc","wrapping":{"cipher":"AES-256-GCM",'
        f'"kdf":"scrypt","n":{N},"nonce":"{wrapped.nonce}","p":1,"r":8,"salt":"{wrapped.salt}"}}}}'
    )
    sealed = bytes.fromhex(wrapped.ciphertext)
    assert AESGCM(wrapping_key).decrypt(bytes.fromhex(wrapped.nonce), sealed, canonical.encode()) == RAW


def test_salt_and_nonce_are_fresh(wrapped: Wrapped) -> None:
    again = Wrapped.seal(SecretBytes(RAW), PHRASE, HEADER)
    assert again.salt != wrapped.salt
    assert again.nonce != wrapped.nonce
    assert again.ciphertext != wrapped.ciphertext


def test_any_change_is_noticed(wrapped: Wrapped) -> None:
    flipped = f"{int(wrapped.ciphertext[0], 16) ^ 1:x}" + wrapped.ciphertext[1:]
    for change in ({"ciphertext": flipped}, {"nonce": "0" * 24}, {"salt": "0" * 32}, {"n": 2 * N}, {"p": 2}):
        with pytest.raises(InvalidTag):
            wrapped.model_copy(update=change).open(PHRASE, HEADER)
    with pytest.raises(InvalidTag):
        wrapped.open(PHRASE, {**HEADER, "label": "u"})


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2**13},
        {"n": 2**21},
        {"n": 2**17 + 1},
        {"n": 0},
        {"r": 9},
        {"p": 5},
        {"salt": "00"},
        {"nonce": "zz" * 12},
        {"ciphertext": "00"},
        {"kdf": "md5"},
        {"cipher": "XOR"},
        {"extra": 1},
    ],
)
def test_absurd_parameters_are_refused_before_any_work(wrapped: Wrapped, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Wrapped.model_validate_json(json.dumps(wrapped.model_dump() | change))


def test_empty_passphrase() -> None:
    with pytest.raises(UsageError, match="empty"):
        Wrapped.seal(SecretBytes(RAW), SecretStr(""), HEADER)


def test_default_cost_is_the_specified_one() -> None:
    assert SCRYPT_N == 2**17
    fresh = Wrapped.seal(SecretBytes(RAW), PHRASE, HEADER)
    assert (fresh.n, fresh.r, fresh.p) == (2**17, 8, 1)
    assert fresh.open(PHRASE, HEADER).get_secret_value() == RAW


# Made with the first released version and passphrase "ünï", then rotated once; at a test's scrypt cost.
GOLDEN_FILE = """{
 "format": "noli-key", "version": 1, "label": "Büro 3",
 "keys": [
  {"key_id": "ece687bf1a7d099d", "created": "2026-11-22T03:09:46+00:00", "state": "decrypt-only",
   "check_value": "d6763eebbdfe49e3",
   "commitment": "fab8a532e41517484014c69a9f610d41af1762ac1e0f705b34fbbe7cd078669c",
   "wrapped": {"cipher": "AES-256-GCM", "kdf": "scrypt", "n": 16384, "r": 8, "p": 1,
    "salt": "0e1114171a1d202326292c2f3235383b", "nonce": "15181b1e2124272a2d303336",
    "ciphertext": "f6677107f8537ec568777a33f9da0f4f\
9156e195656fd715f4a7780f56084b2104c4ef977c68b20783b94db61d6ea10c"}},
  {"key_id": "6db2e9c75ae503f7", "created": "2026-11-22T03:09:46+00:00", "state": "active",
   "check_value": "0774f24c2f184500",
   "commitment": "27c1272269d1ac4adf33775ce0344413eb1e28af41408524865d848021549ffd",
   "wrapped": {"cipher": "AES-256-GCM", "kdf": "scrypt", "n": 16384, "r": 8, "p": 1,
    "salt": "2326292c2f3235383b3e4144474a4d50", "nonce": "2a2d303336393c3f4245484b",
    "ciphertext": "88c35500b8fa57c437d8797d306d65ca\
5a4e9a0b2042b949a57435c6b7e625c7bb8d3b491a0f7e6f13f42fe2791a1f75"}}
 ]
}
"""


def test_published_key_files_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    path.write_text(GOLDEN_FILE, "utf-8")
    path.chmod(0o600)
    assert Key.load(path, passphrase="ünï").export_secret() == bytes(range(4, 36))
    old = Key.load(path, passphrase="ünï", key_id="ece687bf1a7d099d")
    assert (old.export_secret(), old.state, old.label) == (bytes(range(1, 33)), "decrypt-only", "Büro 3")
