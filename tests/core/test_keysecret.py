import copy
import hashlib
import hmac
import pickle

import pytest

from noli.core.keysecret import Secret, check_value, commitment, key_id

RAW = bytes(range(32))


def test_public_values_from_their_definitions() -> None:
    secret = Secret(RAW)
    assert key_id(secret) == hashlib.sha256(b"keyid" + RAW).hexdigest()[:16]
    assert check_value(secret) == hmac.new(RAW, b"kcv", hashlib.sha256).hexdigest()[:16]
    assert commitment(secret) == hashlib.sha256(b"noli/v1/key-commitment\0" + RAW).hexdigest()


def test_public_values_golden() -> None:
    # key_id(Secret(bytes(range(32)))), check_value(...), commitment(...)
    assert key_id(Secret(RAW)) == "f822866f917fdbc5"
    assert check_value(Secret(RAW)) == "a54bef73cda91d90"
    assert commitment(Secret(RAW)) == "f2502bc9b79c9048a9232cb5331849f2f258fbcadcfaf26740fd792f2119570f"


def test_public_values_are_domain_separated() -> None:
    assert not commitment(Secret(RAW)).startswith(key_id(Secret(RAW)))
    other = bytes([1, *RAW[1:]])
    assert key_id(Secret(other)) != key_id(Secret(RAW))
    assert check_value(Secret(other)) != check_value(Secret(RAW))
    assert commitment(Secret(other)) != commitment(Secret(RAW))


def test_masked_everywhere() -> None:
    secret = Secret("correct horse")
    shown = f"{secret} {secret!r} {[secret]} %s" % secret
    assert "horse" not in shown
    assert shown.count("masked") == 4
    assert secret.reveal() == b"correct horse"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_not_picklable_or_copyable(duplicate: object) -> None:
    with pytest.raises(TypeError, match="export_secret"):
        duplicate(Secret(RAW))  # type: ignore[operator]


def test_equality_and_no_hash() -> None:
    assert Secret(RAW) == Secret(bytearray(RAW))
    assert Secret(RAW) != Secret(RAW[:-1])
    assert Secret(RAW) != RAW
    with pytest.raises(TypeError):
        hash(Secret(RAW))
