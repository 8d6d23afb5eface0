import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from noli.core.dataset import ID_LENGTH, Item, Ref, Source, content_id

ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype("u1"), np.dtype("<u2"), np.dtype("<f4")]), hnp.array_shapes(max_side=4)
)


def slow_array_digest(array: npt.NDArray[np.generic]) -> str:
    """One value at a time, in row-major order."""
    text = f"{array.dtype.str}({', '.join(map(str, array.shape))}{',' if array.ndim == 1 else ''})"
    values = b"".join(array[index].tobytes() for index in np.ndindex(*array.shape))
    return hashlib.sha256(text.encode() + values).hexdigest()


@given(st.binary(max_size=200))
def test_bytes_id_is_the_start_of_sha256(content: bytes) -> None:
    short, full = content_id(content)
    assert full == hashlib.sha256(content).hexdigest()
    assert short == full[:20]
    assert len(short) == ID_LENGTH == 20


@given(ARRAYS)
def test_array_id_equals_slow(array: npt.NDArray[np.generic]) -> None:
    short, full = content_id(array)
    assert full == slow_array_digest(array)
    assert short == full[:20]


@given(ARRAYS)
def test_array_id_ignores_memory_order_and_does_not_touch_the_array(array: npt.NDArray[np.generic]) -> None:
    want, before = content_id(array), array.tobytes()
    assert content_id(np.asfortranarray(array)) == want
    wide = np.repeat(array, 2, axis=-1)[..., ::2]
    assert content_id(wide) == want
    assert array.tobytes() == before


@given(ARRAYS, ARRAYS)
def test_array_id_tells_different_arrays_apart(
    a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]
) -> None:
    same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    assert (content_id(a) == content_id(b)) == same


def test_shape_and_type_count() -> None:
    pixels = np.arange(12, dtype=np.uint8)
    ids = {content_id(pixels.reshape(shape))[0] for shape in [(12,), (3, 4), (4, 3), (1, 3, 4), (3, 4, 1)]}
    ids |= {
        content_id(pixels.astype(np.uint16))[0],
        content_id(pixels.view(np.int8))[0],
        content_id(pixels.tobytes())[0],
    }
    assert len(ids) == 8


@pytest.mark.parametrize("shape", [(0,), (0, 4, 3), ()])
def test_empty_and_scalar_arrays(shape: tuple[int, ...]) -> None:
    short, full = content_id(np.zeros(shape, np.uint8))
    assert full.startswith(short)
    assert full == hashlib.sha256(f"|u1{shape}".encode() + bytes(int(np.prod(shape)))).hexdigest()


def test_golden_ids() -> None:
    # content_id(b"noli"); content_id(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert content_id(b"noli")[0] == "bba3862e8b3624757605"
    assert content_id(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))[0] == "27c6b7286667a36ddcb9"


def test_values_are_frozen_and_hashable() -> None:
    ref, item = Ref("cat/1.jpg", label="cat", index=3), Item("0" * 20, "cat/1.jpg", label="cat")
    for value in (ref, item):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.path = "x"  # type: ignore[misc]
        assert not hasattr(value, "__dict__")
    assert len({ref, Ref("cat/1.jpg", label="cat", index=3), Ref("cat/1.jpg", label="cat")}) == 2
    assert dataclasses.replace(item, label=None).label is None
    assert (ref.split, ref.text, item.split, item.text, item.sha256) == (None, None, None, None, "")


class _Memory:
    """The smallest source: what a third party has to write."""

    uri = "memory://two"
    layout = "flat"

    def refs(self) -> Iterator[Ref]:
        yield from (Ref(name, index=i) for i, name in enumerate("ab"))

    def read(self, ref: Ref) -> bytes:
        return ref.path.encode()

    def stat(self, ref: Ref) -> tuple[int, int]:
        return 1, 0


def test_source_protocol() -> None:
    source: Source = _Memory()
    assert isinstance(source, Source)
    assert not isinstance(object(), Source)
    assert [ref.path for ref in source.refs()] == [ref.path for ref in source.refs()] == ["a", "b"]
    assert [content_id(source.read(ref))[1] for ref in source.refs()] == [
        hashlib.sha256(name).hexdigest() for name in (b"a", b"b")
    ]
