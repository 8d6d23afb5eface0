"""The sample: the same share of every class, fixed by names, held-out items kept apart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noli import registry
from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.core.key import Key
from noli.data.sources import open_source
from noli.engine.auto import sample as sampling
from noli.engine.auto.sample import Held, draw, read, stratified
from noli.engine.progress import Progress
from noli.engine.request import RunRequest
from noli.methods.verify.config import Config


def refs(split: str | None = None, **counts: int) -> list[Ref]:
    names = [(label, n) for label, count in counts.items() for n in range(count)]
    return [Ref(f"{split or ''}/{label}/{n}.png", label, split) for label, n in names]


def test_every_class_keeps_its_share() -> None:
    found = Counter(ref.label for ref in stratified(refs(a=200, b=100, c=100), 100))
    assert found == {"a": 50, "b": 25, "c": 25}
    assert stratified(refs(a=3, b=2), 10) == stratified(refs(a=3, b=2), 5)
    assert stratified([], 10) == []


@pytest.mark.parametrize("limit", [3, 10, 57])
def test_small_classes_are_not_forgotten(limit: int) -> None:
    found = Counter(ref.label for ref in stratified(refs(a=1000, b=1, c=3), limit))
    assert min(found[label] for label in "abc") >= 1
    assert found.total() == limit
    assert found["a"] <= 1000 / 1004 * limit + 1


def test_the_order_of_the_data_does_not_matter() -> None:
    items = refs(a=60, b=40, c=20)
    mixed = random.Random(1).sample(items, len(items))
    assert draw(items, 30, 20, 0.3) == draw(mixed, 30, 20, 0.3)
    train, _ = draw(items, 30, 20, 0.3)
    assert [ref.label for ref in train] == sorted(str(ref.label) for ref in train)


def test_held_out_items_are_apart_with_and_without_a_test_split() -> None:
    items = refs(a=60, b=40)
    train, test = draw(items, 1000, 1000, 0.25)
    assert (len(train), len(test)) == (75, 25)
    assert not set(train) & set(test)
    train, test = draw([*items, *refs("test", a=10, b=10), *refs("val", a=10, b=10)], 1000, 12, 0.25)
    assert (len(train), {ref.split for ref in test}, len(test)) == (100, {"test"}, 12)


def test_at_most_fifty_classes_take_part() -> None:
    items = refs(**{f"c{n:03d}": 4 for n in range(70)})
    train, test = draw(items, 1000, 1000, 0.25)
    assert len({ref.label for ref in train}) == sampling.MOST_CLASSES
    assert {ref.label for ref in test} == {ref.label for ref in train}


@pytest.fixture
def ask(key: Key, tmp_path: Path) -> Callable[..., RunRequest]:
    def build(photos: Path, **changes: object) -> RunRequest:
        spec = registry.get("protect/cuda")
        fields = {"source": str(photos), "output": str(tmp_path / "safe"), "spec": spec, "cfg": spec.config()}
        return RunRequest(**{**fields, "key": key, **changes})  # type: ignore[arg-type]

    return build


def test_pictures_are_read_scanned_and_reduced(
    class_folders: Callable[..., Path], ask: Callable[..., RunRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = class_folders(classes=2, each=6, size=40)
    cfg = Config(max_items=6, max_test=4, holdout=0.5)
    whole = read(ask(photos), open_source(photos), cfg)
    assert (len(whole.train), len(whole.test), whole.totals.items, whole.reduced) == (6, 4, 12, False)
    monkeypatch.setattr(sampling, "WORKING_SIDE", 20)
    small = read(ask(photos), open_source(photos), cfg)
    assert [one.row for one in small.train] == [one.row for one in whole.train]
    assert {one.picture.pixels.shape for one in small.train} == {(20, 20, 3)}
    assert small.reduced
    means = [one.picture.pixels.reshape(20, 20, 3).mean() for one in small.train]
    assert np.allclose(means, [one.picture.pixels.mean() for one in whole.train], atol=1)


def test_what_a_run_would_refuse_is_refused_before_any_trial(
    class_folders: Callable[..., Path], ask: Callable[..., RunRequest]
) -> None:
    photos = class_folders(classes=2, each=6)
    (photos / "class-0/0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"class-0/0\.png"):
        read(ask(photos), open_source(photos), Config())
    found = read(ask(photos, on_error="skip"), open_source(photos), Config(holdout=0.3))
    assert len(found.train) + len(found.test) == 11


@pytest.mark.parametrize("stage", ["scan", "read"])
def test_reading_that_fails_ends_its_progress(
    class_folders: Callable[..., Path],
    ask: Callable[..., RunRequest],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    photos = class_folders(classes=2, each=6)
    if stage == "scan":
        (photos / "class-0/0.png").write_bytes(b"")
    else:
        monkeypatch.setattr("noli.engine.shard.picture", lambda *_: 1 / 0)
    bar, told = Progress(), list[str]()
    monkeypatch.setattr(bar, "start", lambda _, label: told.append(label))
    monkeypatch.setattr(bar, "finish", lambda: told.append("end"))
    with pytest.raises((DataError, ZeroDivisionError)):
        read(ask(photos, progress=bar), open_source(photos), Config())
    assert told[-2:] == [stage, "end"]


def test_a_held_sample_reads_what_it_is_given(
    class_folders: Callable[..., Path], ask: Callable[..., RunRequest]
) -> None:
    photos = class_folders(classes=2, each=6)
    found = read(ask(photos), open_source(photos), Config(holdout=0.5))
    held = Held(found, lambda path: np.full((2, 2, 3), len(path), np.uint8))
    listed = list(held.refs())
    assert [ref.split for ref in listed] == [None] * 6 + ["test"] * 6
    assert int(np.asarray(held.read(listed[0])).max()) == len(listed[0].path)
    assert held.stat(listed[0]) == (0, 0)
