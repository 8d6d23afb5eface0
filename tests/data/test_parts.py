"""Parts, the row index and the ledger: what makes single-file outputs resumable."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.core.dataset import Ref
from noli.core.errors import RunError
from noli.data.parts import Ledger, Parts, RowIndex


def shard(first: int, count: int) -> list[tuple[Ref, str, bytes]]:
    return [(Ref(f"x#{i}"), f"x#{i}", bytes([i]) * (i + 1)) for i in range(first, first + count)]


def test_parts_are_found_again_by_another_process(tmp_path: Path) -> None:
    Parts(tmp_path).write(0, shard(0, 4))
    Parts(tmp_path).write(7, shard(4, 4))
    parts = Parts(tmp_path)
    assert parts.indexes() == [0, 7]
    for i in (0, 5, 3, 7):
        place = parts.locate(f"x#{i}")
        assert place is not None
        assert parts.content(*place) == bytes([i]) * (i + 1)
    assert parts.locate("x#8") is None
    assert [row[1] for row in parts.rows()] == [f"x#{i}" for i in range(8)]


def test_a_shard_without_its_index_file_does_not_count(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.write(0, shard(0, 2))
    (tmp_path / "000000.json").unlink()
    assert parts.indexes() == []
    assert Parts(tmp_path).locate("x#0") is None


def test_rewriting_a_shard_is_idempotent(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.write(3, shard(0, 3))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert parts.content(*parts.locate("x#1")) == b"\1\1"
    parts.write(3, shard(0, 3))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    parts.clear()
    assert list(tmp_path.iterdir()) == []
    assert parts.locate("x#1") is None


def test_a_damaged_index_file_is_named(tmp_path: Path) -> None:
    Parts(tmp_path).write(0, shard(0, 2))
    (tmp_path / "000000.json").write_text("{")
    with pytest.raises(RunError, match="damaged") as caught:
        list(Parts(tmp_path).rows())
    assert "000000.json" in str(caught.value.where)


def test_arrays_and_bare_paths(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    array = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    parts.write(0, [(Ref("a"), "a", array[:, ::-1])])
    assert parts.content(*parts.locate("a")) == array[:, ::-1].tobytes()
    parts.write(1, shard(0, 2), contents=False)
    assert not (tmp_path / "000001.bin").exists()


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_ranges_describe_exactly_the_present_rows(new: set[int], old: set[int]) -> None:
    first = RowIndex(31)
    for row in old:
        first.put(row, 0, 0, 1)
    second = RowIndex(31)
    second.inherit(first.ranges)
    for row in new:
        second.put(row, 1, 0, 1)
    assert {row for a, b in second.ranges for row in range(a, b)} == new | old
    assert [int(second.old[row]) for row in sorted(old)] == list(range(len(old)))


def test_ledger_tells_states_apart_by_size(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.ranges("a", 10) == []
    ledger.note("a", 10, [[0, 3]])
    ledger.note("a", 20, [[0, 5]])
    assert Ledger(tmp_path).ranges("a", 10) == [[0, 3]]
    assert Ledger(tmp_path).ranges("a", 20) == [[0, 5]]
    ledger.settle("a", 20)
    assert ledger.ranges("a", 10) == []
    assert ledger.ranges("a", 20) == [[0, 5]]
