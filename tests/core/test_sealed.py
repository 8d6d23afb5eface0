"""Sealed files: what was sealed comes back, and no byte of the file can be changed unnoticed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core import sealed
from noli.core.errors import DataError, SealError, UsageError, WrongKey
from noli.core.key import Key
from noli.core.sealed import MAGIC, content_key, header_of, new_seal_id, seal, unseal

OWNER = Key.from_bytes(bytes(32))
TOLD: dict[str, Any] = {
    "seal_id": "ab" * 16, "owner": "cd" * 32, "owner_id": OWNER.id, "kind": "safetensors",
    "created": "2030-01-01T00:00:00+00:00",
}  # fmt: skip
KEY = content_key(OWNER, TOLD["seal_id"])


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=30)
def test_what_was_sealed_comes_back(content: bytes) -> None:
    data = seal(content, KEY, **TOLD)
    assert unseal(data, KEY, "it") == content
    assert len(content) < 16 or content not in data
    assert data != seal(content, KEY, **TOLD)  # a nonce of its own every time


def test_the_header_says_what_is_inside_and_nothing_secret() -> None:
    data = seal(b"weights", KEY, **TOLD, layers=["body.3"], label="for a clinic")
    header = header_of(data, "it")
    assert (header.layers, header.label, header.size, header.key_id) == (
        ["body.3"],
        "for a clinic",
        7,
        KEY.id,
    )
    for key in (OWNER, KEY):
        assert key.export_secret() not in data
        assert key.export_secret().hex().encode() not in data


def test_every_changed_byte_is_noticed() -> None:
    data = seal(bytes(range(40)), KEY, **TOLD, layers=["a", "b"])
    for place in range(len(data)):
        for change in (1, 0x80):
            broken = bytearray(data)
            broken[place] ^= change
            with pytest.raises((SealError, WrongKey)):
                unseal(bytes(broken), KEY, "it")


@pytest.mark.parametrize("cut", [0, 5, len(MAGIC) + 3, 60, -1, -17])
def test_what_was_cut_off_or_added_is_noticed(cut: int) -> None:
    data = seal(b"x" * 50, KEY, **TOLD)
    for broken in (data[:cut], data + b"\0"):
        with pytest.raises(SealError):
            unseal(broken, KEY, "it")


def test_a_header_written_in_another_way_is_refused() -> None:
    data = seal(b"x", KEY, **TOLD)
    header = header_of(data, "it")
    spaced = json.dumps(header.model_dump(mode="json"), sort_keys=True).encode()
    with pytest.raises(SealError):
        header_of(MAGIC + len(spaced).to_bytes(4, "little") + spaced + data[-17:], "it")


def test_every_file_has_a_key_of_its_own() -> None:
    ids = {new_seal_id() for _ in range(20)}
    assert len({content_key(OWNER, one).id for one in ids} | {OWNER.id}) == 21
    data = seal(b"x", KEY, **TOLD)
    for key in (
        OWNER,
        content_key(OWNER, "ab" * 15 + "ac"),
        content_key(Key.from_bytes(b"\1" * 32), "ab" * 16),
    ):
        with pytest.raises(WrongKey) as caught:
            unseal(data, key, "it")
        assert isinstance(caught.value, DataError)


def test_what_cannot_be_sealed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot say"):
        seal(b"x", KEY, **{**TOLD, "kind": "else"})
    monkeypatch.setattr(sealed, "MAX_BYTES", 10)
    with pytest.raises(UsageError, match="too large"):
        seal(b"x" * 11, KEY, **TOLD)
