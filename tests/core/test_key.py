import copy
import dataclasses
import hmac
import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.keystream import Stream

RAW = bytes(range(32))
TEXT = st.text(st.characters(), max_size=12)


@pytest.fixture
def key() -> Key:
    return Key.from_bytes(RAW, "lab")


def test_generate_makes_different_keys() -> None:
    keys = [Key.generate("mine") for _ in range(20)]
    assert len({k.id for k in keys}) == len({k.export_secret() for k in keys}) == 20
    assert keys[0].label == "mine"
    assert keys[0].state == "active"
    assert keys[0].created.endswith("+00:00")
    assert len(keys[0].export_secret()) == 32


def test_export_and_from_bytes_round_trip(key: Key) -> None:
    again = Key.from_bytes(key.export_secret(), "other label")
    assert again == key
    assert again.stream("p", "i").bytes(64) == key.stream("p", "i").bytes(64)


@pytest.mark.parametrize("secret", [b"", RAW[:31], RAW + b"x", "a" * 32, 12345, None, list(RAW)])
def test_from_bytes_refuses(secret: object) -> None:
    with pytest.raises(UsageError, match="32 random bytes") as caught:
        Key.from_bytes(secret)  # type: ignore[arg-type]
    assert type(secret).__name__ in str(caught.value)


@pytest.mark.parametrize("label", ["two\nlines", "x" * 201, "\x1b[31m", "\ud800", 7])
def test_bad_labels(label: str) -> None:
    with pytest.raises(UsageError, match="label"):
        Key.from_bytes(RAW, label)


def test_direct_construction_masks_the_secret_as_well(key: Key) -> None:
    assert Key(RAW) == Key(SecretBytes(RAW)) == key  # type: ignore[arg-type]


# ---------------------------------------------------------------------- public values


def test_public(key: Key) -> None:
    assert key.public() == {
        "label": "lab",
        "id": "f822866f917fdbc5",
        "commitment": key.commit(),
        "check_value": "a54bef73cda91d90",
        "created": "",
        "state": "active",
    }
    assert json.loads(json.dumps(key.public())) == key.public()


def test_commitment_opens_only_with_its_key(key: Key) -> None:
    assert key.opens(key.commit())
    assert key.opens(f" {key.commit().upper()}\n")
    assert not Key.generate().opens(key.commit())
    assert not key.opens("")
    assert not key.opens("ü")
    assert len(key.commit()) == 64


# ---------------------------------------------------------------------- a value


def test_equality_and_hash(key: Key) -> None:
    same, other = Key.from_bytes(RAW, "another label"), Key.generate()
    assert key == same
    assert key != other
    assert key != "f822866f917fdbc5"
    assert len({key, same, other}) == 2


def test_no_other_attributes(key: Key) -> None:
    with pytest.raises(AttributeError):
        key.anything = "x"  # type: ignore[attr-defined]
    assert not hasattr(key, "__dict__")


def test_masked_not_picklable(key: Key) -> None:
    for shown in (repr(key), str(key), f"{key}", f"{[key]}", repr(key.__getstate__())):
        assert RAW.hex() not in shown
        assert repr(RAW)[2:-1] not in shown
    assert "f822866f917fdbc5" in repr(key)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="export_secret"):
            pickle.dumps(key, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="export_secret"):
            duplicate(key)
    assert not dataclasses.is_dataclass(key)


# ---------------------------------------------------------------------- derivation


@given(st.binary(min_size=32, max_size=32), TEXT)
def test_subkey_is_hkdf_written_out(raw: bytes, info: str) -> None:
    # RFC 5869, sections 2.2 and 2.3, one block.
    prk = hmac.digest(bytes(32), raw, "sha256")
    by_hand = hmac.digest(prk, info.encode("utf-8", "surrogatepass") + b"\x01", "sha256")
    assert Key.from_bytes(raw).subkey(info) == by_hand


@given(st.binary(min_size=32, max_size=32), TEXT.filter(bool), TEXT)
def test_stream_is_the_documented_derivation(raw: bytes, purpose: str, item: str) -> None:
    key = Key.from_bytes(raw)
    info = f"noli/v1/{purpose}/{quote(item, safe='', errors='surrogatepass')}"
    assert key.stream(purpose, item).bytes(40) == Stream(SecretBytes(key.subkey(info))).bytes(40)


PIECES = st.text(st.sampled_from("ab/%2Fé \ud83d\ude00😀"), max_size=5)


@given(PIECES.filter(bool), PIECES, PIECES.filter(bool), PIECES)
def test_purpose_and_item_are_injective(p: str, i: str, q: str, j: str) -> None:
    key = Key.from_bytes(RAW)
    same_stream = key.stream(p, i).bytes(16) == key.stream(q, j).bytes(16)
    assert same_stream == ((p, i) == (q, j))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("a/b", "c"), ("a", "b/c")),
        (("a", "b"), ("a/b", "")),
        (("a", "b/c"), ("a", "b%2Fc")),
        (("a", "é"), ("a", "%C3%A9")),
        (("a", "é"), ("a", "e\u0301")),
        (("a", "+"), ("a", " ")),
    ],
)
def test_pairs_that_a_naive_join_would_confuse(key: Key, one: tuple[str, str], two: tuple[str, str]) -> None:
    assert key.stream(*one).bytes(16) != key.stream(*two).bytes(16)


@pytest.mark.parametrize(("purpose", "item"), [("", "x"), (1, "x"), ("p", 3), ("p", None), (b"p", "x")])
def test_stream_refuses(key: Key, purpose: str, item: str) -> None:
    with pytest.raises(UsageError, match="purpose"):
        key.stream(purpose, item)


def test_subkey_golden(key: Key) -> None:
    # Key.from_bytes(bytes(range(32))).subkey("noli/v1/golden").hex()
    assert (
        key.subkey("noli/v1/golden").hex()
        == "84520df28dfb866d0c3262b00cf3b6a484a90634237f0169d6f957870d895587"
    )
