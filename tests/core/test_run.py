from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core import environment
from noli.core.environment import Meter, available_cores, capture_environment, peak_memory_mb
from noli.core.errors import DataError, Interrupted, OutputExists, RunError
from noli.core.files import TEMP_SUFFIX, atomic_write, refuse_existing, storage_error
from noli.core.manifest import DataInfo, Environment, Generation, KeyInfo, Manifest, Resources
from noli.core.run import Run, append_line, describe_error, dump_line, read_artifact, read_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def new(path: Path) -> Run:
    return Run.create(path, verb="protect", method="test/roll", args_passed={"a": 1}, args_resolved={"a": 1})


def test_create_open_round_trip(tmp_path: Path) -> None:
    key = KeyInfo(id="ab", commitment="cd")
    made = Run.create(
        tmp_path / "r",
        verb="protect",
        method="test/roll",
        args_passed={"eps": "8/255"},
        args_resolved={"eps": 8 / 255},
        key=key,
        input=DataInfo(uri="in", layout="flat"),
        generations=(Generation(index="index.jsonl", first_shard=0, shards=2, items=5),),
    )
    again = Run.open(tmp_path / "r")
    assert again.manifest == made.manifest
    assert again.manifest.status == "running"
    assert again.manifest.key == key
    assert again.manifest.args_passed == {"eps": "8/255"}
    assert again.manifest.environment.packages["numpy"]
    assert json.loads((tmp_path / "r/run.json").read_text())["schema_version"] == 1


def test_subclasses_create_and_open_themselves(tmp_path: Path) -> None:
    class Mine(Run):
        pass

    assert isinstance(Mine.create(tmp_path / "r", verb="verify"), Mine)
    assert isinstance(Mine.open(tmp_path / "r"), Mine)


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    new(tmp_path / "r")
    with pytest.raises(OutputExists, match="already holds a run"):
        new(tmp_path / "r")


def test_status_machine(tmp_path: Path) -> None:
    run = new(tmp_path / "r")
    run.fail(DataError("Broken.", where="x.png", items=["x.png"]))
    assert Run.open(run.path).manifest.status == "failed"
    error = Run.open(run.path).manifest.error
    assert error is not None
    assert (error.type, error.where, error.items) == ("DataError", "x.png", ("x.png",))
    run.resume()
    assert Run.open(run.path).manifest.error is None
    run.fail(Interrupted("Stopped."))
    assert Run.open(run.path).manifest.status == "interrupted"
    run = Run.open(run.path)
    run.resume()
    run.finish({"items": 3})
    manifest = Run.open(run.path).manifest
    assert (manifest.status, manifest.results) == ("done", {"items": 3})
    assert manifest.finished is not None
    assert manifest.resources.sessions == 2  # the first object recorded once, the reopened one added to it
    assert [event["kind"] for event in run.events()] == ["failed", "interrupted", "done"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        ('{"schema_version": 99}', "schema 99"),
        ('{"schema_version": 1, "run_id": "x"}', "damaged"),
    ],
)
def test_open_refuses_damaged_manifests(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=match) as caught:
        Run.open(tmp_path)
    assert caught.value.fix


def test_open_of_nothing_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run.*\.noli"):
        Run.open(tmp_path / "nothing")


def test_newer_fields_of_the_same_schema_are_ignored(tmp_path: Path) -> None:
    run = new(tmp_path / "r")
    raw = json.loads((run.path / "run.json").read_text())
    raw["later"] = 1
    (run.path / "run.json").write_text(json.dumps(raw))
    assert Run.open(run.path).manifest == run.manifest


def test_shard_records_stream_in_order(tmp_path: Path) -> None:
    run = new(tmp_path / "r")
    for index in (11, 2, 100, 0):
        run.write_shard_record(index, [{"n": index}, {"n": index + 0.5}])
    assert [record["n"] for record in run.iter_records()] == [0, 0.5, 2, 2.5, 11, 11.5, 100, 100.5]
    assert run.shard_record(2).name == "000002.jsonl"


def test_records_read_lazily(tmp_path: Path) -> None:
    run = new(tmp_path / "r")
    run.write_shard_record(0, [{"n": 0}, {"n": 1}])
    run.shard_record(1).write_text("not json\n")
    stream = run.iter_records()
    assert [next(stream)["n"], next(stream)["n"]] == [0, 1]
    with pytest.raises(RunError, match=r"000001.jsonl:1"):
        next(stream)


def test_a_torn_event_does_not_swallow_the_next(tmp_path: Path) -> None:
    run = new(tmp_path / "r")
    run.event("one")
    with (run.path / "events.jsonl").open("ab") as handle:
        handle.write(b'{"kind": "to')
    run.event("two")
    assert [event["kind"] for event in run.events()] == ["one", "two"]


def test_a_line_that_must_last_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    file = tmp_path / "x.jsonl"
    append_line(file, {"n": 1}, durable=True)
    append_line(file, {"n": 2})
    assert synced == [len(dump_line({"n": 1}))], "the whole line was written before"
    assert file.read_bytes() == b'{"n":1}\n{"n":2}\n'
    with pytest.raises(RunError, match="cannot be written"):
        append_line(tmp_path, {"n": 3})


def test_what_a_run_kept_is_read_or_its_damage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    assert read_artifact(file, Environment, "make it again") is None
    atomic_write(file, Environment(cpu="Some CPU").model_dump_json().encode())
    assert read_artifact(file, Environment, "make it again") == Environment(cpu="Some CPU")
    for damaged in (b"", b'{"cpu": ', b"[]", b"\xff"):
        atomic_write(file, damaged)
        with pytest.raises(RunError, match="The machine of the run cannot be read") as caught:
            read_artifact(file, Environment, "make it again")
        assert (caught.value.where, caught.value.fix) == (str(file), "make it again")


@given(record=st.dictionaries(st.text(), JSON, max_size=4))
@settings(max_examples=60, deadline=None)
def test_lines_round_trip(record: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("lines") / "x.jsonl"
    atomic_write(file, dump_line(record) * 2)
    assert list(read_lines(file)) == [record, record]
    assert file.read_bytes().count(b"\n") == 2


def test_names_that_are_not_unicode_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    atomic_write(tmp_path / "x", dump_line({"path": name}))
    assert next(read_lines(tmp_path / "x"))["path"] == name


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_lines_refuse_what_is_not_json(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump_line({"psnr": value})


def test_atomic_write_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.json"
    atomic_write(file, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="disk is full") as caught:
        atomic_write(file, b"new")
    assert "resumes" in str(caught.value.fix)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert TEMP_SUFFIX.startswith(".")


def test_a_file_in_place_of_the_folder_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        new(tmp_path / "r")


def test_fail_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new(tmp_path / "r")
    monkeypatch.setattr(run, "save", lambda: (_ for _ in ()).throw(RunError("The disk is full.")))
    run.fail(RunError("The disk is full."))
    assert Run.open(run.path).manifest.status == "running"


@pytest.mark.parametrize(
    ("number", "match"),
    [
        (errno.ENOSPC, "full"),
        (errno.EFBIG, "full"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "failed"),
    ],
)
def test_storage_errors_name_place_cause_and_fix(number: int, match: str) -> None:
    error = storage_error(OSError(number, os.strerror(number), "/out/x.png"))
    assert match in error.what
    assert error.where == "/out/x.png"
    assert error.why == os.strerror(number)
    assert error.fix


def test_describe_error_bounds_the_items() -> None:
    kept = describe_error(DataError("Many.", items=[f"{i}.png" for i in range(5000)]))
    assert (len(kept.items), kept.items_total) == (1000, 5000)
    assert describe_error(ZeroDivisionError("x")).what == "x"


def test_environment_knows_this_checkout() -> None:
    found = capture_environment()
    assert found.cpu
    assert found.cpu_cores == available_cores() >= 1
    root = Path(environment.__file__).parents[3]
    if (root / ".git").exists():
        assert found.git_commit is not None
        assert len(found.git_commit) == 40
        assert isinstance(found.git_dirty, bool)


def test_a_foreign_repository_around_the_package_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "venv" / "site-packages" / "noli" / "core"
    package.mkdir(parents=True)
    (tmp_path / "venv" / ".git").mkdir()
    monkeypatch.setattr(environment, "__file__", str(package / "environment.py"))
    assert environment._checkout() == (None, None)


def test_processor_is_read_from_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "cpuinfo"
    monkeypatch.setattr(environment, "CPUINFO", listing)
    assert environment.processor.__wrapped__()[1] == frozenset()
    listing.write_text(
        "processor\t: 0\nmodel name\t: Fast\nflags\t\t: fpu sse\n\nprocessor : 1\nflags : avx\n"
    )
    assert environment.processor.__wrapped__() == ("Fast", {"fpu", "sse"})
    listing.write_text("processor: 0\n")
    assert environment.processor.__wrapped__()[1] == frozenset()


def test_meter_adds_sessions_and_workers() -> None:
    meter = Meter()
    meter.worker(1, 100.0)
    meter.worker(1, 80.0)
    meter.worker(2, 50.0)
    cost = meter.add_to(Resources(wall_seconds=10, cpu_seconds=5, sessions=1))
    assert cost.wall_seconds >= 10
    assert cost.cpu_seconds >= 5
    assert cost.sessions == 2
    assert cost.peak_memory_mb >= peak_memory_mb() - 1 + 150 - 50
    assert 10 < peak_memory_mb() < 10_000


def test_manifest_holds_everything_the_design_asks_for() -> None:
    wanted = (
        "schema_version run_id created finished status verb method args_passed args_resolved key input output"
    )
    wanted += " shards model environment threads resources results error"
    assert set(wanted.split()) <= set(Manifest.model_fields)


def test_a_place_that_cannot_be_written_is_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for taken in ("file", "link"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(OutputExists):
            refuse_existing(tmp_path / taken)
    with pytest.raises(RunError, match="cannot be written") as found:
        refuse_existing(tmp_path / "file" / "below" / "it.csv")
    assert str(found.value.why).endswith("file is a file")
    refuse_existing(tmp_path / "new" / "folders" / "it.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_refused_before_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"):
        refuse_existing(tmp_path / "it.csv")
