import hashlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import ValidationError

from noli.core.errors import UsageError
from noli.core.keysecret import Secret
from noli.core.keywrap import SCRYPT_N, Wrapped, unwrap, wrap

RAW = bytes(range(32))
HEADER = {"format": "noli-key", "key_id": "00", "label": "ü"}
N = 2**14


@pytest.fixture(scope="module")
def wrapped() -> Wrapped:
    return wrap(Secret(RAW), Secret("pass"), HEADER, n=N)


def test_round_trip_and_wrong_passphrase(wrapped: Wrapped) -> None:
    opened = unwrap(wrapped, Secret("pass"), HEADER)
    assert opened == Secret(RAW)
    assert unwrap(wrapped, Secret("Pass"), HEADER) is None


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
    again = wrap(Secret(RAW), Secret("pass"), HEADER, n=N)
    assert again.salt != wrapped.salt
    assert again.nonce != wrapped.nonce
    assert again.ciphertext != wrapped.ciphertext


def test_any_change_is_noticed(wrapped: Wrapped) -> None:
    flipped = f"{int(wrapped.ciphertext[0], 16) ^ 1:x}" + wrapped.ciphertext[1:]
    for change in ({"ciphertext": flipped}, {"nonce": "0" * 24}, {"salt": "0" * 32}, {"n": 2 * N}, {"p": 2}):
        assert unwrap(wrapped.model_copy(update=change), Secret("pass"), HEADER) is None
    assert unwrap(wrapped, Secret("pass"), {**HEADER, "label": "u"}) is None


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
        wrap(Secret(RAW), Secret(""), HEADER, n=N)


def test_default_cost_is_the_specified_one() -> None:
    assert SCRYPT_N == 2**17
    fresh = wrap(Secret(RAW), Secret("pass"), HEADER)
    assert (fresh.n, fresh.r, fresh.p) == (2**17, 8, 1)
    assert unwrap(fresh, Secret("pass"), HEADER) == Secret(RAW)
