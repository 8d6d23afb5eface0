from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import engine_fake_method as fake
import pytest
from engine_data import KEY, OTHER_KEY, make_folder

from noli.core.environment import Meter
from noli.core.errors import DataError, MissingPrerequisite, RunError, UsageError, WorkerDied
from noli.core.key import Key
from noli.core.method import Spec
from noli.core.run import read_lines
from noli.data.sources import open_source
from noli.data.writers import open_writer
from noli.engine.pool import IN_FLIGHT_PER_WORKER, map_shards
from noli.engine.request import RunRequest, load_method
from noli.engine.runner import run_data
from noli.engine.scanstage import cut_shards
from noli.engine.shard import ShardWork, StoppedError

Ask = Callable[..., RunRequest]
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(data: Path, ask: Ask, tmp_path: Path) -> Rows:
    run = run_data(ask(output=tmp_path / "first"))
    return list(read_lines(run.path / "artifacts/index.jsonl"))


def work(tmp_path: Path, key: Key = KEY, output: bool = True, **changes: Any) -> ShardWork:
    source = open_source(tmp_path / "in")
    cfg = fake.Config(
        **{name: changes.pop(name) for name in list(changes) if name in fake.Config.model_fields}
    )
    request = RunRequest(str(tmp_path / "in"), str(tmp_path / "out"), fake.SPEC, cfg, key, **changes)
    writer = open_writer(tmp_path / "out", source, work=tmp_path / "parts") if output else None
    return ShardWork(request, {"classes": {"ant": 0, "bee": 1}}, source, writer)


def test_processes_and_this_process_agree(rows: Rows, tmp_path: Path) -> None:
    found = []
    for workers in (1, 2):
        shards = cut_shards(rows, 5, 10**6)
        done = dict(map_shards(work(tmp_path), shards, workers, Meter()))
        assert sorted(done) == list(range(5))
        found.append(done)
    assert found[0] == found[1]


def test_shards_are_asked_for_only_when_needed(rows: Rows, tmp_path: Path) -> None:
    asked = []

    def shards() -> Iterator[tuple[int, Rows]]:
        for index, shard in cut_shards(rows, 1, 10**6):
            asked.append(index)
            yield index, shard

    with closing(map_shards(work(tmp_path), shards(), 2, Meter())) as done:
        next(done)
        assert len(asked) <= 2 * IN_FLIGHT_PER_WORKER + 1


def test_closing_early_stops_the_workers_soon(rows: Rows, tmp_path: Path) -> None:
    shards = cut_shards(rows, 1, 10**6)  # all of them would take two workers eleven seconds
    with closing(map_shards(work(tmp_path, pause=1.0), shards, 2, Meter())) as done:
        next(done)
    assert len(list((tmp_path / "out").rglob("*.png"))) < 12


def test_a_stopped_worker_stops_between_groups(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noli.engine.shard.GROUP_PIXELS", 1)
    answers = iter([False, False, True])
    stopping = work(tmp_path)
    stopping.stop = lambda: next(answers)
    with pytest.raises(StoppedError):
        stopping.process(0, rows)
    assert not (tmp_path / "out").exists()


def test_workers_report_their_memory(rows: Rows, tmp_path: Path) -> None:
    meter = Meter()
    list(map_shards(work(tmp_path), cut_shards(rows, 3, 10**6), 2, meter))
    assert 1 <= len(meter._workers) <= 2
    assert os.getpid() not in meter._workers
    assert all(10 < peak < 5000 for peak in meter._workers.values())


def test_errors_cross_the_border_whole(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(map_shards(work(tmp_path, fail_on="ant"), cut_shards(rows, 3, 10**6), 2, Meter()))
    assert caught.value.where == caught.value.items[0]
    assert caught.value.fix
    assert caught.value.why is not None
    assert "ValueError" in caught.value.why


def test_pickled_work_holds_no_key(tmp_path: Path, data: Path) -> None:
    content = pickle.dumps(work(tmp_path))
    assert KEY.export_secret() not in content
    assert pickle.loads(content).request.key is None  # noqa: S301


def test_a_killed_worker_is_named(rows: Rows, tmp_path: Path) -> None:
    before = threading.active_count()
    deadly = work(tmp_path, kill_on="bee", killed_once=str(tmp_path / "once"))
    with pytest.raises(WorkerDied) as caught:
        list(map_shards(deadly, cut_shards(rows, 3, 10**6), 2, Meter()))
    assert caught.value.exit_code == 5
    assert "resumes" in str(caught.value)
    assert threading.active_count() == before


def test_a_missing_module_is_a_missing_prerequisite() -> None:
    with pytest.raises(MissingPrerequisite, match="no_such_module"):
        load_method("no_such_module")


def test_group_sizes_do_not_change_anything(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for pixels in (1, 200, 10**6):
        monkeypatch.setattr("noli.engine.shard.GROUP_PIXELS", pixels)
        found.append(work(tmp_path).process(0, rows))
    assert found[0] == found[1] == found[2]
    assert [record["path"] for record in found[0]] == [row["path"] for row in rows]


def test_another_key_gives_other_bytes(rows: Rows, tmp_path: Path) -> None:
    one, other = (work(tmp_path, key).process(0, rows) for key in (KEY, OTHER_KEY))
    assert [a["sha256_out"] for a in one] != [b["sha256_out"] for b in other]


def test_an_item_that_changes_under_our_hands(rows: Rows, tmp_path: Path) -> None:
    file = tmp_path / "in" / rows[3]["path"]
    file.write_bytes((tmp_path / "in" / rows[4]["path"]).read_bytes())
    with pytest.raises(DataError, match="changed after the scan") as caught:
        work(tmp_path).process(0, rows)
    assert caught.value.items == (rows[3]["path"],)
    records = work(tmp_path, on_error="skip").process(0, rows)
    assert [record["path"] for record in records if "error" in record] == [rows[3]["path"]]


def test_an_item_that_vanishes(rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "in" / rows[0]["path"]).unlink()
    with pytest.raises(DataError) as caught:
        work(tmp_path).process(0, rows)
    assert caught.value.where == rows[0]["path"]


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (lambda batch: batch * 2, "lie in"),
        (lambda batch: batch * float("nan"), "finite"),
        (lambda batch: batch.astype("float64"), "float32"),
        (lambda batch: batch[..., 1:], "changed the shape"),
        (lambda batch: batch[:, :1], "changed the shape"),
    ],
)
def test_methods_that_break_the_contract_are_caught(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Callable[[Any], Any], match: str
) -> None:
    monkeypatch.setattr(fake, "apply", lambda state, batch, items, key, cfg: result(batch))
    with pytest.raises(DataError, match=match):
        work(tmp_path).process(0, rows[:4])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [UsageError("u"), MissingPrerequisite("m"), RunError("r")])
def test_errors_that_no_item_is_to_blame_for_are_never_skipped(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(fake, "apply", refuse)
    with pytest.raises(type(error)):
        work(tmp_path, on_error="skip").process(0, rows)


def test_a_job_without_an_output_writes_nothing(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no output"):
        work(tmp_path, output=False).process(0, rows)


def test_a_method_without_key_labels_or_extras(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "in", 4, classes=(".",))
    monkeypatch.delattr(fake, "extras")
    monkeypatch.setattr(fake, "apply", lambda state, batch, items, key, cfg: 1 - batch)
    spec = Spec(**{**vars(fake.SPEC), "needs": frozenset(), "reversible": False})
    run = run_data(ask(spec=spec, key=None))
    assert run.manifest.key is None
    assert run.manifest.state == {"classes": {}, "items": 4, "key": None}
    assert all("extra" not in record for record in run.iter_records())
