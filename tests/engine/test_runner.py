from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import engine_fake_method as fake
import numpy as np
import pytest
from engine_data import KEY, OTHER_KEY, make_folder, make_image, tree_hash
from PIL import Image

from noli.core.errors import DataError, Interrupted, OutputExists, RunError, UsageError, WorkerDied
from noli.core.method import Spec
from noli.core.run import Run, read_lines
from noli.engine import runner
from noli.engine.lock import locked
from noli.engine.progress import Progress
from noli.engine.request import RunRequest, run_folder
from noli.engine.runner import run_data

Ask = Callable[..., RunRequest]


def calls(log: Path) -> Counter[str]:
    """Count prepares and transformed items in the fake method's log."""
    found: Counter[str] = Counter()
    for line in log.read_text().splitlines() if log.exists() else ():
        kind, n = line.split()
        found[kind] += int(n) if kind == "apply" else 1
    return found


def expected(path: str, pixels: np.ndarray) -> np.ndarray:
    """Slow oracle of the fake method for classes ant (as is) and bee (inverted)."""
    identity = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:20]
    shift = 1 + KEY.stream("test/roll", identity).choice(5)
    rolled = np.empty_like(pixels)
    for x in range(pixels.shape[1]):
        rolled[:, (x + shift) % pixels.shape[1]] = pixels[:, x]
    return 255 - rolled if "/bee/" in path else rolled


def test_folder_to_folder(data: Path, ask: Ask, tmp_path: Path) -> None:
    run = run_data(ask())
    manifest = run.manifest
    assert manifest.status == "done"
    assert run.path == tmp_path / "out.noli"
    sources = sorted(path.relative_to(data) for path in data.rglob("*.png"))
    assert (
        sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file())
        == sources
    )
    for name in sources:
        before = np.asarray(Image.open(data / name))
        after = np.asarray(Image.open(tmp_path / "out" / name))
        np.testing.assert_array_equal(after, expected(str(data / name), before))


def test_manifest_and_records(data: Path, ask: Ask, tmp_path: Path) -> None:
    run = run_data(ask(args_passed={"data": "in"}))
    manifest = run.manifest
    assert manifest.method == "test/roll"
    assert manifest.key is not None
    assert (manifest.key.id, manifest.key.commitment) == (KEY.id, KEY.commit())
    assert manifest.args_passed == {"data": "in"}
    assert manifest.args_resolved["config"]["strength"] == 1
    assert manifest.input is not None
    assert (manifest.input.items, manifest.input.layout) == (23, "class-folders")
    assert manifest.output is not None
    assert len(manifest.output.hash) == 64
    assert [shard.items for shard in manifest.shards] == [4, 4, 4, 4, 4, 3]
    assert manifest.state == {"classes": {"ant": 0, "bee": 1}, "items": 23, "key": KEY.id}
    assert manifest.resources.wall_seconds > 0
    assert manifest.resources.peak_memory_mb > 10
    assert not list((run.path / "artifacts").glob("catalog*"))
    assert not (run.path / "run.lock").exists()
    records = list(run.iter_records())
    assert len(records) == 23 == manifest.results["items"]
    for record in records:
        before = (data / record["path"]).read_bytes()
        after = (tmp_path / "out" / record["out"]).read_bytes()
        assert record["sha256_in"] == hashlib.sha256(before).hexdigest()
        assert record["sha256_out"] == hashlib.sha256(after).hexdigest()
        assert (record["size"], record["size_out"]) == (len(before), len(after))
        assert record["id"] == record["sha256_in"][:20]
        assert record["label"] == record["path"].split("/")[0]
        assert record["extra"]["shift"] in range(1, 6)
        a, b = (
            np.asarray(Image.open(root / record["path"])).astype(float) for root in (data, tmp_path / "out")
        )
        assert record["linf"] == np.abs(a - b).max()
        assert record["psnr"] == pytest.approx(10 * np.log10(255**2 / ((a - b) ** 2).mean()), abs=1e-3)
    secret = KEY.export_secret()
    for file in run.path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert secret not in content
            assert secret.hex().encode() not in content


def test_bytes_do_not_depend_on_workers_or_shards(data: Path, ask: Ask, tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    hashes = set()
    for name, workers, shard in (("a", 1, 4), ("b", 2, 4), ("c", 2, 1), ("d", 1, 256)):
        run = run_data(ask(output=tmp_path / name, workers=workers, shard_size=shard))
        assert run.manifest.output is not None
        hashes.add((tree_hash(tmp_path / name), run.manifest.output.hash))
    assert len(hashes) == 1
    assert cv2.getNumThreads() == threads
    assert (
        run_data(ask(output=tmp_path / "b", workers=2)).manifest.threads == max(1, threads // 2)
        or threads > 2
    )


def test_a_finished_run_returns_at_once(data: Path, ask: Ask, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = run_data(ask(log=str(log)))
    before, times = calls(log), (tmp_path / "out.noli/run.json").stat().st_mtime_ns
    again = run_data(ask(log=str(log), workers=2))
    assert again.manifest == first.manifest
    assert calls(log) == before
    assert (tmp_path / "out.noli/run.json").stat().st_mtime_ns == times


def test_a_deleted_output_comes_back(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    whole = tree_hash(tmp_path / "out")
    next((tmp_path / "out").rglob("*.png")).unlink()
    log = tmp_path / "log"
    assert tree_hash(tmp_path / "out") != whole
    run_data(ask())
    assert tree_hash(tmp_path / "out") == whole
    assert not log.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_extension_costs_only_what_is_new(data: Path, ask: Ask, tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    first = run_data(ask(log=str(log), workers=workers))
    old = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert calls(log) == {"prepare": 1, "apply": 23}
    make_folder(data, 2, classes=("aardvark", "bee"), first=100)  # a new class that sorts first
    run = run_data(ask(log=str(log), workers=workers))
    assert calls(log) == {"prepare": 2, "apply": 25}
    assert run.manifest.status == "done"
    assert run.manifest.results["items"] == 25
    assert run.manifest.state is not None
    assert run.manifest.state["classes"] == {"ant": 0, "bee": 1, "aardvark": 2}
    assert [g.items for g in run.manifest.generations] == [23, 2]
    assert run.manifest.shards[:6] == first.manifest.shards
    assert {path: path.read_bytes() for path in old} == old
    assert len(list((tmp_path / "out").rglob("*.png"))) == 25
    assert run_data(ask(log=str(log))).manifest == run.manifest
    assert run.manifest.resources.sessions == 2


def test_changed_images_are_refused(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    whole = tree_hash(tmp_path / "out")
    names = ["ant/00002.png", "bee/00001.png"]
    for i, name in enumerate(names):
        make_image(900 + i).save(data / name)
    with pytest.raises(DataError, match=r"2 item\(s\) changed") as caught:
        run_data(ask())
    assert sorted(caught.value.items) == names
    assert tree_hash(tmp_path / "out") == whole
    run = Run.open(tmp_path / "out.noli")
    assert run.manifest.status == "done"  # what was finished stays finished
    assert [event["kind"] for event in run.events()][-2:] == ["attempt-failed", "done"]


def test_touched_but_equal_images_are_fine(data: Path, ask: Ask) -> None:
    first = run_data(ask())
    file = data / "ant/00002.png"
    file.write_bytes(file.read_bytes())
    assert run_data(ask()).manifest == first.manifest


def test_removed_images_are_a_warning(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    (data / "ant/00004.png").unlink()
    run = run_data(ask())
    assert run.manifest.status == "done"
    event = [event for event in run.events() if event["kind"] == "removed-from-source"][-1]
    assert (event["total"], event["items"]) == (1, ["ant/00004.png"])
    assert (tmp_path / "out/ant/00004.png").exists()


def test_broken_items_refuse_the_run_before_any_work(data: Path, ask: Ask, tmp_path: Path) -> None:
    whole = (data / "bee/00001.png").read_bytes()
    (data / "bee/00001.png").write_bytes(whole[: len(whole) // 2])
    (data / "ant/00000.png").write_bytes(b"")
    log = tmp_path / "log"
    with pytest.raises(DataError, match="2 of 23 items") as caught:
        run_data(ask(log=str(log)))
    assert sorted(caught.value.items) == ["ant/00000.png", "bee/00001.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_broken_items_can_be_skipped_and_repaired(data: Path, ask: Ask, tmp_path: Path) -> None:
    whole = (data / "bee/00001.png").read_bytes()
    (data / "bee/00001.png").write_bytes(whole[: len(whole) // 2])
    run = run_data(ask(on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (22, 1)
    failed = [record for record in run.iter_records() if "error" in record]
    assert [record["path"] for record in failed] == ["bee/00001.png"]
    assert not (tmp_path / "out/bee/00001.png").exists()
    assert run_data(ask(on_error="skip")).manifest == run.manifest
    (data / "bee/00001.png").write_bytes(whole)
    run = run_data(ask(on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (23, 0)
    assert (tmp_path / "out/bee/00001.png").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_method_that_fails_on_one_item(data: Path, ask: Ask, tmp_path: Path, workers: int) -> None:
    with pytest.raises(DataError, match="ValueError: cannot do") as caught:
        run_data(ask(fail_on="ant/00006", workers=workers))
    assert caught.value.items == ("ant/00006.png",)
    assert Run.open(tmp_path / "out.noli").manifest.status == "failed"
    run = run_data(ask(output=tmp_path / "skip", fail_on="ant/00006", workers=workers, on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (22, 1)
    failed = [record for record in run.iter_records() if "error" in record]
    assert failed == [{"path": "ant/00006.png", "error": "ValueError: cannot do ant/00006.png"}]
    assert len(list((tmp_path / "skip").rglob("*.png"))) == 22


def test_no_usable_item(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "in/ant").mkdir(parents=True)
    (tmp_path / "in/ant/x.png").write_bytes(b"no")
    with pytest.raises(DataError):
        run_data(ask(on_error="skip"))
    assert not (tmp_path / "out.noli").exists()


@pytest.mark.parametrize("error", [DataError("too few classes"), KeyboardInterrupt(), OSError("x")])
def test_nothing_stays_behind_before_the_first_item(
    data: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(fake, "prepare", refuse)
        with pytest.raises((DataError, Interrupted, RunError)):
            run_data(ask())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert run_data(ask()).manifest.status == "done"


def test_unlabelled_items_are_refused_when_labels_are_needed(tmp_path: Path, ask: Ask) -> None:
    make_folder(tmp_path / "in", 3, classes=(".",))
    with pytest.raises(DataError, match="label"):
        run_data(ask())


def test_grey_for_a_method_that_needs_colour(data: Path, ask: Ask) -> None:
    make_image(5, (8, 10)).save(data / "ant/grey.png")
    spec = Spec(**{**vars(fake.SPEC), "needs": frozenset({"key", "labels", "color"})})
    with pytest.raises(DataError, match="needs colour"):
        run_data(ask(spec=spec))
    run = run_data(ask(spec=spec, on_error="skip"))
    assert run.manifest.results["skipped"] == 1


def test_grey_alpha_and_16_bit_survive(tmp_path: Path, ask: Ask) -> None:
    folder = tmp_path / "in/ant"
    folder.mkdir(parents=True)
    make_image(1, (9, 7)).save(folder / "grey.png")
    make_image(2, (9, 7, 4)).save(folder / "rgba.png")
    deep = np.random.default_rng(3).integers(0, 65535, (9, 7), dtype=np.uint16)
    cv2.imwrite(str(folder / "deep.png"), deep)
    cv2.imwrite(str(folder / "dim.png"), deep >> 4)
    make_image(4, (1, 1, 3)).save(folder / "dot.png")
    run = run_data(ask())
    told = {record["path"]: record["notes"] for record in run.iter_records()}
    assert [path for path, notes in told.items() if any("an eighth" in note for note in notes)] == [
        "ant/dim.png"
    ]
    out = tmp_path / "out/ant"
    assert Image.open(out / "grey.png").mode == "L"
    before, after = (np.asarray(Image.open(path / "rgba.png")) for path in (folder, out))
    np.testing.assert_array_equal(before[..., 3], after[..., 3])
    assert (before[..., :3] != after[..., :3]).any()
    again = cv2.imread(str(out / "deep.png"), cv2.IMREAD_UNCHANGED)
    assert again.dtype == np.uint16
    assert sorted(again.ravel()) == sorted(deep.ravel())  # rolled, not rounded
    assert Image.open(out / "dot.png").size == (1, 1)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"strength": 2}, "strength"),
        ({"key": OTHER_KEY}, "key"),
        ({"format": "webp"}, "format"),
        ({"metadata": "strip"}, "metadata"),
        ({"source": "other"}, "source"),
        ({"spec": Spec(**{**vars(fake.SPEC), "family": "mark"})}, "protect"),
    ],
)
def test_other_arguments_are_refused(
    data: Path, ask: Ask, tmp_path: Path, change: dict[str, object], name: str
) -> None:
    run_data(ask())
    whole = tree_hash(tmp_path)
    if "source" in change:
        change = {"source": make_folder(tmp_path.parent / f"{tmp_path.name}-other", 3)}
    with pytest.raises(UsageError, match=f"`{name}`"):
        run_data(ask(**change))
    assert tree_hash(tmp_path) == whole


def test_an_option_that_is_newer_than_the_run_stands_at_its_default(
    data: Path, ask: Ask, tmp_path: Path
) -> None:
    run_data(ask())
    file = tmp_path / "out.noli/run.json"
    manifest = json.loads(file.read_text())
    del manifest["args_resolved"]["config"]["strength"]  # as if the option had not existed
    file.write_text(json.dumps(manifest))
    assert run_data(ask()).manifest.status == "done"
    with pytest.raises(UsageError, match="`strength`"):
        run_data(ask(strength=fake.Config().strength + 1))


def test_stopped_while_learning_it_says_that_learning_goes_on(
    data: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runner, "prepare", stopped)
        with pytest.raises(Interrupted) as caught:
            run_data(ask())
    assert "goes on" in str(caught.value.fix)
    assert run_data(ask()).manifest.status == "done"


def test_occupied_places_are_refused(data: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(OutputExists):
        run_data(ask())
    with pytest.raises(OutputExists):
        run_data(ask(output=data / "out"))
    with pytest.raises(OutputExists):
        run_data(ask(output=tmp_path))
    with pytest.raises(OutputExists, match="run folder lies inside the input"):
        run_data(ask(output=tmp_path / "new", run_dir=data / "run"))
    with pytest.raises(OutputExists, match="run folder lies inside the output"):
        run_data(ask(output=tmp_path / "new", run_dir=tmp_path / "new/run"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_one_process_per_run_folder(data: Path, ask: Ask, tmp_path: Path) -> None:
    with locked(tmp_path / "out.noli"), pytest.raises(UsageError, match="Another process"):
        run_data(ask())
    assert run_data(ask()).manifest.status == "done"


def test_stale_locks_are_taken_over(data: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "out.noli").mkdir()
    (tmp_path / "out.noli/run.lock").write_text("1\n")  # an old file; nobody holds it
    assert run_data(ask()).manifest.status == "done"
    assert not (tmp_path / "out.noli/run.lock").exists()


def test_interrupt_and_resume(data: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_data(ask(output=tmp_path / "whole"))
    monkeypatch.setattr(fake, "_calls", 0)
    with pytest.raises(Interrupted) as caught:
        run_data(ask(interrupt_after=2))
    assert caught.value.exit_code == 130
    run = Run.open(tmp_path / "out.noli")
    assert run.manifest.status == "interrupted"
    done = len(list(run.path.glob("shards/*")))
    assert 0 < done < 6
    with pytest.raises(UsageError, match="interrupt_after"):
        run_data(ask())  # another configuration is another job
    with pytest.raises(Interrupted):
        run_data(ask(interrupt_after=2))
    assert run_data(ask(interrupt_after=2)).manifest.status == "done"
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")


def test_killed_worker_and_resume(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask(output=tmp_path / "whole"))
    once = {"kill_on": "bee/00005", "killed_once": str(tmp_path / "once")}
    with pytest.raises(WorkerDied, match="memory"):
        run_data(ask(workers=2, **once))
    assert Run.open(tmp_path / "out.noli").manifest.status == "failed"
    run = run_data(ask(workers=2, **once))
    assert run.manifest.status == "done"
    assert run.manifest.error is None
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")


def test_a_file_in_place_of_the_output(data: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises((RunError, UsageError)):
        run_data(ask(output=tmp_path / "file/out"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_preview_artifact(data: Path, ask: Ask, tmp_path: Path) -> None:
    run = run_data(ask())
    with np.load(run.path / "artifacts/preview.npz", allow_pickle=False) as file:
        names = [str(name) for name in file["names"]]
        assert len(names) == len(set(names)) == 8
        for i, name in enumerate(names):
            np.testing.assert_array_equal(file[f"original_{i}"], np.asarray(Image.open(data / name)))
            np.testing.assert_array_equal(
                file[f"protected_{i}"], np.asarray(Image.open(tmp_path / "out" / name))
            )


def test_index_lists_every_item(data: Path, ask: Ask) -> None:
    run = run_data(ask())
    rows = list(read_lines(run.path / "artifacts/index.jsonl"))
    assert [row["path"] for row in rows] == [record["path"] for record in run.iter_records()]
    assert json.loads((run.path / "run.json").read_text())["generations"][0]["items"] == len(rows) == 23


def test_requests_that_can_never_work(ask: Ask) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        ask(workers=0)
    with pytest.raises(UsageError, match="needs a key"):
        ask(key=None)
    with pytest.raises(UsageError, match="cannot be undone"):
        ask(undo_of=Path(), spec=Spec(**{**vars(fake.SPEC), "reversible": False}))
    with pytest.raises(UsageError, match="into data"):
        ask(spec=Spec(**{**vars(fake.SPEC), "arrow": "judge"}))


@pytest.mark.parametrize(
    ("options", "told"),
    [({"format": "webp"}, 1), ({"format": "webp", "metadata": "strip"}, 0), ({"format": "same"}, 0), ({}, 0)],
)
def test_a_lost_comment_is_reported(data: Path, ask: Ask, options: dict, told: int) -> None:
    make_image(7).convert("RGB").save(data / "ant/said.jpg", comment=b"hello")
    records = {record["path"]: record for record in run_data(ask(**options)).iter_records()}
    assert sum("comment dropped" in note for note in records["ant/said.jpg"]["notes"]) == told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metadata": "Strip"}, "use one of keep, strip"),
        ({"metadata": "none"}, "use one of keep, strip"),
        ({"on_error": "ignore"}, "use one of fail, skip"),
        ({"format": "jpg"}, "use one of png, webp, same"),
        ({"workers": 1.5}, "--workers 1"),
        ({"workers": "2"}, "--workers 1"),
    ],
)
def test_policies_outside_their_lists_are_refused(ask: Ask, change: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(**change)
    assert told in str(caught.value.fix)


def test_two_runs_with_folders_of_their_own_cannot_share_an_output(
    data: Path, ask: Ask, tmp_path: Path
) -> None:
    with locked(run_folder(tmp_path / "out")), pytest.raises(UsageError, match="Another process"):
        run_data(ask(run_dir=tmp_path / "mine"))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "mine").exists()
    run_folder(tmp_path / "out").rmdir()
    run_data(ask(run_dir=tmp_path / "mine"))
    assert not run_folder(tmp_path / "out").exists()


def test_what_was_put_into_the_output_during_the_scan_is_not_overwritten(
    data: Path, ask: Ask, tmp_path: Path
) -> None:
    class Neighbour(Progress):
        def start(self, total: int | None, label: str) -> None:
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out" / "precious.txt").write_text("mine")

    with pytest.raises(OutputExists):
        run_data(ask(progress=Neighbour()))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["precious.txt"]
