"""The runner over the other layouts: tables, arrays, Parquet, URLs; resumed, extended, undone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import engine_fake_method as fake
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine_data import KEY, make_folder, make_image, tree_hash
from PIL import Image

from noli.core.errors import DataError, Interrupted, UsageError
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.engine.undo import undo

Ask = Callable[..., RunRequest]


def pixels(n: int, first: int = 0) -> np.ndarray:
    return np.stack([np.asarray(make_image(i, (6, 7, 3))) for i in range(first, first + n)])


def write_npz(file: Path, n: int) -> None:
    np.savez(file, x=pixels(n), y=np.arange(n) % 2, class_names=np.array(["ant", "bee"]))


def write_parquet(file: Path, n: int, first: int = 0) -> None:
    rows = []
    for i in range(first, first + n):
        buffer = io.BytesIO()
        make_image(i, (6, 7, 3)).save(buffer, "PNG")
        rows.append({"image": {"bytes": buffer.getvalue(), "path": f"{i}.png"}, "label": i % 2})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


def parquet_pixels(file: Path) -> np.ndarray:
    column = pq.read_table(file).column("image").to_pylist()
    return np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in column])


@pytest.mark.parametrize("workers", [1, 2])
def test_npz_there_and_back(tmp_path: Path, ask: Ask, workers: int) -> None:
    write_npz(tmp_path / "in.npz", 11)
    run = run_data(ask(source=tmp_path / "in.npz", output=tmp_path / "out.npz", workers=workers))
    assert run.manifest.results["items"] == 11
    before, after = np.load(tmp_path / "in.npz"), np.load(tmp_path / "out.npz")
    assert sorted(after.files) == sorted(before.files)
    np.testing.assert_array_equal(after["y"], before["y"])
    assert (after["x"] != before["x"]).any(axis=(1, 2, 3)).all()
    found = undo(tmp_path / "out.npz", tmp_path / "back.npz", KEY, spec=fake.SPEC)
    np.testing.assert_array_equal(np.load(tmp_path / "back.npz")["x"], before["x"])
    assert (found.items, found.compared, found.identical) == (11, 11, 11)


def test_npz_grows(tmp_path: Path, ask: Ask) -> None:
    request = ask(source=tmp_path / "in.npz", output=tmp_path / "out.npz")
    write_npz(tmp_path / "in.npz", 6)
    run_data(request)
    old = np.load(tmp_path / "out.npz")["x"]
    write_npz(tmp_path / "in.npz", 9)
    run = run_data(request)
    assert [g.items for g in run.manifest.generations] == [6, 3]
    new = np.load(tmp_path / "out.npz")["x"]
    assert len(new) == 9
    np.testing.assert_array_equal(new[:6], old)
    write_npz(tmp_path / "whole.npz", 9)
    run_data(ask(source=tmp_path / "whole.npz", output=tmp_path / "all.npz"))
    np.testing.assert_array_equal(np.load(tmp_path / "all.npz")["x"], new)


def test_parquet_interrupted_extended_undone(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "in/train-0.parquet", 10)
    run_data(ask(output=tmp_path / "whole"))
    monkeypatch.setattr(fake, "_calls", 0)
    with pytest.raises(Interrupted):
        run_data(ask(interrupt_after=2))
    assert not list((tmp_path / "out").rglob("*.parquet"))
    run_data(ask(interrupt_after=2))
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")
    write_parquet(tmp_path / "in/train-1.parquet", 3, first=50)
    monkeypatch.setattr(fake, "_calls", 0)
    run = run_data(ask(interrupt_after=2))
    assert [g.items for g in run.manifest.generations] == [10, 3]
    assert parquet_pixels(tmp_path / "out/train-1.parquet").shape == (3, 6, 7, 3)
    found = undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC)
    assert (found.items, found.identical) == (13, 13)
    for name in ("train-0.parquet", "train-1.parquet"):
        np.testing.assert_array_equal(
            parquet_pixels(tmp_path / "back" / name), parquet_pixels(tmp_path / "in" / name)
        )


def test_parquet_with_a_skipped_row_can_be_undone(tmp_path: Path, ask: Ask) -> None:
    write_parquet(tmp_path / "in/train-0.parquet", 8)
    table = pq.read_table(tmp_path / "in/train-0.parquet").to_pylist()
    table[2]["image"]["bytes"] = b"broken"
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "in/train-0.parquet")
    run = run_data(ask(on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (7, 1)
    found = undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC)
    assert (found.items, found.identical) == (7, 7)
    kept = [i for i in range(8) if i != 2]
    np.testing.assert_array_equal(parquet_pixels(tmp_path / "back/train-0.parquet"), pixels(8)[kept])


def test_a_slice_of_a_parquet_file_needs_the_run_folder(tmp_path: Path, ask: Ask) -> None:
    write_parquet(tmp_path / "in/train-0.parquet", 8)
    run = run_data(ask())
    for place, rows in (
        (tmp_path / "slice.parquet", range(2, 5)),
        (tmp_path / "out/train-0.parquet", range(8)),
    ):
        if not place.exists():
            pq.write_table(pq.read_table(tmp_path / "out/train-0.parquet").slice(2, 3), place)
        back = tmp_path / f"back-{place.name}"
        with pytest.raises(UsageError, match="--protected-run RUN") as caught:
            undo(place, back, KEY, spec=fake.SPEC)
        assert "one of several Parquet files or a slice of one" in str(caught.value.fix)
        found = undo(place, back, KEY, protected_run=run.path, spec=fake.SPEC)
        assert (found.items, found.missing) == (len(rows), 8 - len(rows))
        np.testing.assert_array_equal(parquet_pixels(back), pixels(8)[list(rows)])


def test_metadata_table(tmp_path: Path, ask: Ask) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i in range(5):
        make_image(i).save(root / f"{i}.jpg", quality=90)
    lines = ["file_name,label,note", *(f"{i}.jpg,{'ant' if i % 2 else 'bee'},n{i}" for i in range(5))]
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    run = run_data(ask(workers=2))
    assert run.manifest.input is not None
    assert run.manifest.input.layout == "metadata"
    with (tmp_path / "out/metadata.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["file_name"] for row in rows] == [f"{i}.png" for i in range(5)]
    assert [row["note"] for row in rows] == [f"n{i}" for i in range(5)]
    found = undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC)
    assert (found.compared, found.identical) == (5, 5)
    assert (tmp_path / "back/0.png").exists()
    (root / "metadata.csv").write_text("\n".join([*lines[:-1], "4.jpg,ant,n4"]) + "\n")
    with pytest.raises(DataError, match="changed") as caught:
        run_data(ask())
    assert caught.value.items == ("4.jpg",)  # same pixels, another label: another treatment


def test_lossy_output_is_measured_as_saved(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "in/ant").mkdir(parents=True)
    make_image(3, (16, 16, 3)).save(tmp_path / "in/ant/a.jpg", quality=90)
    run = run_data(ask(format="same"))
    record = next(run.iter_records())
    assert record["out"] == "ant/a.jpg"
    before, after = (
        np.asarray(Image.open(tmp_path / root / "ant/a.jpg")).astype(float) for root in ("in", "out")
    )
    assert record["psnr"] == pytest.approx(10 * np.log10(255**2 / ((before - after) ** 2).mean()), abs=0.3)


def test_colliding_names_stay_apart_and_come_back(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "in/ant").mkdir(parents=True)
    make_image(1).save(tmp_path / "in/ant/a.jpg")
    run_data(ask())
    make_image(2).save(tmp_path / "in/ant/a.png")  # added later: a.png is taken by a.jpg's output
    run = run_data(ask())
    outs = {record["path"]: record["out"] for record in run.iter_records()}
    assert outs["ant/a.jpg"] == "ant/a.png"
    assert len(set(outs.values())) == 2
    found = undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC)
    assert (found.compared, found.identical) == (2, 2)


def test_memory_urls_work_in_one_process(tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "in", 6)
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path / "in"), "/noli-engine/in", recursive=True)
    try:
        run = run_data(ask(source="memory://noli-engine/in", output="memory://noli-engine/out", workers=2))
        assert run.path == Path("out.noli")
        assert run.manifest.results["items"] == 6
        run_data(ask(output=tmp_path / "local"))
        for file in sorted((tmp_path / "local").rglob("*.png")):
            name = file.relative_to(tmp_path / "local")
            assert files.cat(f"/noli-engine/out/{name}") == file.read_bytes()
    finally:
        files.rm("/noli-engine", recursive=True)


def test_csv_of_paths(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "in/pictures").mkdir(parents=True)
    for i in range(4):
        make_image(i).save(tmp_path / f"in/pictures/{i}.bmp")
    lines = ["path,label", *(f"pictures/{i}.bmp,{'ant' if i % 2 else 'bee'}" for i in range(4))]
    (tmp_path / "in/list.csv").write_text("\n".join(lines) + "\n")
    run = run_data(ask(source=tmp_path / "in/list.csv"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (4, 0)
    with (tmp_path / "out/list.csv").open() as handle:
        outs = [row["path"] for row in csv.DictReader(handle)]
    assert outs == [record["out"] for record in run.iter_records()]
    assert undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC).identical == 4
