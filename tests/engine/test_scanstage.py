from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine_data import make_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.engine.catalog import Catalog
from noli.engine.progress import Progress
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.engine.scanstage import Totals, cut_shards

SIDE = st.integers(1, 40)


def row(path: str, height: int = 4, width: int = 5, **more: Any) -> dict[str, Any]:
    digest = path.encode("utf-8", "surrogatepass").hex()
    base = {"path": path, "size": 7, "mtime_ns": 9, "sha256": digest, "label": "ant", "format": "PNG"}
    return {**base, "shape": [height, width, 3], **more}


@given(
    sides=st.lists(st.tuples(SIDE, SIDE), max_size=60),
    size=st.integers(1, 9),
    pixels=st.integers(1, 900),
    first=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_shards_hold_everything_in_order_within_bounds(
    sides: list[tuple[int, int]], size: int, pixels: int, first: int
) -> None:
    rows = [row(str(i), h, w) for i, (h, w) in enumerate(sides)]
    shards = list(cut_shards(rows, size, pixels, first))
    assert [index for index, _ in shards] == list(range(first, first + len(shards)))
    assert [one for _, shard in shards for one in shard] == rows
    for _, shard in shards:
        load = sum(one["shape"][0] * one["shape"][1] for one in shard)
        assert 1 <= len(shard) <= size
        assert load <= pixels or len(shard) == 1


def test_failed_rows_count_as_items() -> None:
    rows = [{"path": str(i), "error": "x"} for i in range(5)]
    assert [len(shard) for _, shard in cut_shards(rows, 2, 100)] == [2, 2, 1]


def test_catalog_round_trip() -> None:
    names = ["a.png", '"quoted".png', "caf\udce9.png", "é/ü.png"]
    catalog = Catalog()
    for name in names:
        catalog.add(row(name, label=name))
    catalog.add({**row("bad.png"), "sha256": "", "error": "broken"})
    assert [catalog.content(name) for name in names] == [(7, 9, row(name)["sha256"]) for name in names]
    assert catalog.content("bad.png") is None
    assert catalog.content("new.png") is None
    assert catalog.see("new.png") is None
    seen = catalog.see("bad.png")
    assert seen is not None
    assert seen.failed
    assert [catalog.see(name).label for name in names[1:]] == names[1:]  # type: ignore[union-attr]
    assert list(catalog.unseen()) == ["a.png"]
    catalog.add(row("bad.png"))  # repaired
    assert catalog.content("bad.png") == (7, 9, row("bad.png")["sha256"])
    catalog.close()


def test_catalog_finds_made_items_by_name_and_content() -> None:
    catalog = Catalog()
    for out, digest in (("x.png", "1"), ("y.png", "1"), ("z.png", "2")):
        catalog.add_made({"out": out, "sha256_out": digest, "path": out[0]})
    found = {
        (out, digest): catalog.made(out, digest)["path"]  # type: ignore[index]
        for out, digest in (("y.png", "1"), ("renamed.png", "2"), ("z.png", "changed"), ("x.png", "2"))
    }
    assert found == {
        ("y.png", "1"): "y",
        ("renamed.png", "2"): "z",
        ("z.png", "changed"): "z",
        ("x.png", "2"): "z",  # content counts more than the name
    }
    assert catalog.made("new.png", "new") is None
    catalog.close()


def test_totals_stay_small_when_every_shape_differs() -> None:
    totals = Totals()
    for i in range(1, 6000):
        totals.add(row(str(i), 1, i, label=None))
    totals.add(row("again", 1, 1))
    assert len(totals.shapes) == 4096
    assert totals.shapes[(1, 1, 3)] == 2
    summary = totals.summary("here")
    assert (summary.items, len(summary.shapes), summary.classes) == (6000, 64, ("ant",))
    assert totals.largest == 5999


class Census(Progress):
    """Counts the living container objects now and then, while the runner reports its progress."""

    def __init__(self, every: int) -> None:
        self.every, self.seen, self.peak = every, 0, 0

    def advance(self, n: int = 1) -> None:
        self.seen += n
        if self.seen % self.every < n:
            gc.collect()
            self.peak = max(self.peak, len(gc.get_objects()))


def test_objects_in_memory_do_not_grow_with_the_number_of_items(
    tmp_path: Path, ask: Callable[..., RunRequest]
) -> None:
    """Holding one index row for each item would keep two containers each, 2,760 more in the larger set."""
    peaks = {}
    for n in (60, 120, 1500):  # the first run pays for imports and caches
        names = tuple(f"c{i:02d}" for i in range(n // 30))
        source = make_folder(tmp_path / f"in{n}", n, classes=names)
        census = Census(every=n // 6)
        run_data(ask(source=source, output=tmp_path / f"out{n}", shard_size=16, progress=census))
        peaks[n] = census.peak
    assert peaks[1500] - peaks[120] < 900, peaks
