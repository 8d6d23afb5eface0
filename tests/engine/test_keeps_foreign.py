"""What a rerun must not touch, and what it must tell."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import engine_fake_method as fake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine_data import KEY, make_image, tree_hash

from noli.core.errors import DataError, OutputExists
from noli.core.run import Run
from noli.engine.plan import dry_run
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.engine.undo import undo

Ask = Callable[..., RunRequest]


def test_a_foreign_file_is_never_overwritten(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    make_image(700).save(data / "ant/new.png")
    (tmp_path / "out/ant/new.png").write_bytes(b"mine")
    whole = tree_hash(tmp_path / "out")
    with pytest.raises(OutputExists, match="not made by this run") as caught:
        run_data(ask())
    assert caught.value.items == ("ant/new.png",)
    assert tree_hash(tmp_path / "out") == whole
    assert Run.open(tmp_path / "out.noli").manifest.status == "done"
    (tmp_path / "out/ant/new.png").unlink()
    assert run_data(ask()).manifest.results["items"] == 24


def test_companions_that_differ_stay_and_are_told(data: Path, ask: Ask, tmp_path: Path) -> None:
    (data / "README.md").write_text("one")
    (data / "LICENSE").write_text("old")
    (data / "NOTICE").write_text("touched")
    run_data(ask())
    (tmp_path / "out/README.md").write_text("mine, longer")
    (data / "README.md").write_text("two")
    (data / "LICENSE").write_text("new text")
    (data / "NOTICE").write_text("touched")
    make_image(700).save(data / "ant/new.png")
    run = run_data(ask())
    assert (tmp_path / "out/README.md").read_text() == "mine, longer"
    assert (tmp_path / "out/LICENSE").read_text() == "old"
    assert run.manifest.results["companions_kept"] == 2
    kept = [event["items"] for event in run.events() if event["kind"] == "companions-kept"]
    assert kept == [["LICENSE", "README.md"]]


def test_an_edited_table_stays(tmp_path: Path, ask: Ask) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(2):
        make_image(i).save(folder / f"{i}.png")
    table = folder / "metadata.csv"
    table.write_text("file_name,label\n0.png,a\n1.png,b\n")
    run_data(ask())
    copy = tmp_path / "out/metadata.csv"
    copy.write_text(copy.read_text() + "# mine\n")
    make_image(2).save(folder / "2.png")
    table.write_text("file_name,label\n0.png,a\n1.png,b\n2.png,b\n")
    run = run_data(ask())
    assert copy.read_text().endswith("# mine\n")
    assert run.manifest.results["companions_kept"] == 1


def test_removed_on_both_sides(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    for root in (data, tmp_path / "out"):
        (root / "ant/00004.png").unlink()
    (tmp_path / "out/bee/00005.png").unlink()  # of the same shard; this one can be made again
    run = run_data(ask())
    assert run.manifest.status == "done"
    assert (tmp_path / "out/bee/00005.png").exists()
    assert run.manifest.results["removed_from_source"] == 1
    assert run.manifest.results["outputs_gone"] == 1
    assert run.manifest.results["items"] == 23
    assert run_data(ask()).manifest == run.manifest
    found = undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC)
    assert (found.items, found.identical, found.missing) == (22, 22, 1)


def test_undo_of_a_table_with_a_missing_file(tmp_path: Path, ask: Ask) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        make_image(i).save(folder / f"{i}.png")
    (folder / "metadata.csv").write_text("file_name,label\n0.png,a\n1.png,b\n2.png,b\n")
    run_data(ask())
    (tmp_path / "out/1.png").unlink()
    found = undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC)
    assert (found.items, found.missing) == (2, 1)


def test_undo_after_a_failed_later_try(data: Path, ask: Ask, tmp_path: Path) -> None:
    run = run_data(ask())
    Run.open(run.path).update(status="failed")  # as older versions left it
    assert undo(tmp_path / "out", tmp_path / "back", KEY, spec=fake.SPEC).items == 23


def test_one_picture_under_two_labels(data: Path, ask: Ask, tmp_path: Path) -> None:
    content = (data / "ant/00000.png").read_bytes()
    (data / "ant/again.png").write_bytes(content)
    run_data(ask())  # twice under the same label is fine
    (data / "bee/again.png").write_bytes(content)
    with pytest.raises(DataError, match="two differently protected versions") as caught:
        run_data(ask())
    assert caught.value.items == ("bee/again.png",)
    assert not (tmp_path / "out/bee/again.png").exists()
    with pytest.raises(DataError, match="under two labels"):
        run_data(ask(output=tmp_path / "fresh"))
    run = run_data(ask(output=tmp_path / "skip", on_error="skip"))
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (24, 1)


def test_changed_outputs_are_told_and_kept(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    (tmp_path / "out/ant/00002.png").write_bytes(b"other")
    (tmp_path / "out/ant/00000.png").unlink()  # of the same shard
    run = run_data(ask())
    assert (tmp_path / "out/ant/00002.png").read_bytes() == b"other"
    assert (tmp_path / "out/ant/00000.png").exists()
    assert run.manifest.results["outputs_changed"] == 1
    assert [e["items"] for e in run.events() if e["kind"] == "outputs-changed"] == [["ant/00002.png"]]


def flip(file: Path, at: int = -20) -> bytes:
    """Change one byte, as an editor that keeps the size would."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    return bytes(content)


def test_edits_that_keep_the_size_are_told(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    mine = flip(tmp_path / "out/ant/00002.png")
    (tmp_path / "out/bee/00001.png").touch()  # newer, but the same bytes
    (tmp_path / "out/ant/00000.png").unlink()  # of the same shard
    for _ in range(2):
        run = run_data(ask())
        assert run.manifest.results["outputs_changed"] == 1
        assert [e["items"] for e in run.events() if e["kind"] == "outputs-changed"][-1] == ["ant/00002.png"]
    assert (tmp_path / "out/ant/00002.png").read_bytes() == mine
    assert (tmp_path / "out/ant/00000.png").exists()


def test_edited_arrays_are_told(tmp_path: Path, ask: Ask) -> None:
    pixels = np.stack([np.asarray(make_image(i)) for i in range(6)])
    np.savez(tmp_path / "in.npz", x=pixels, y=["a", "b"] * 3)
    request = ask(source=tmp_path / "in.npz", output=tmp_path / "out.npz")
    run_data(request)
    assert run_data(request).manifest.results["outputs_changed"] == 0
    archive = dict(np.load(tmp_path / "out.npz"))
    archive["x"][3] ^= 1
    before = (tmp_path / "out.npz").read_bytes()
    np.savez(tmp_path / "out.npz", **archive)
    assert (tmp_path / "out.npz").stat().st_size == len(before)
    assert run_data(request).manifest.results["outputs_changed"] == 1
    (tmp_path / "out.npz").write_bytes(before)
    assert run_data(request).manifest.results["outputs_changed"] == 0


def test_rows_count_their_own_bytes(tmp_path: Path, ask: Ask) -> None:
    images = []
    for i in range(40):
        buffer = io.BytesIO()
        make_image(i).save(buffer, "PNG")
        images.append(buffer.getvalue())
    table = pa.table({"image": pa.array(images, pa.binary()), "label": ["a", "b"] * 20})
    pq.write_table(table, tmp_path / "x.parquet")
    request = ask(source=tmp_path / "x.parquet", output=tmp_path / "y.parquet")
    total = sum(map(len, images))
    assert dry_run(request).bytes_in == total
    run = run_data(request)
    assert run.manifest.results["bytes_in"] == total
    assert run.manifest.input is not None
    assert run.manifest.input.bytes == total
    (tmp_path / "y.parquet").write_bytes(b"mine")
    again = run_data(request)
    assert (tmp_path / "y.parquet").read_bytes() == b"mine"
    assert again.manifest.results["outputs_changed"] == 40


def test_an_output_in_the_input_is_named_as_such(data: Path, ask: Ask) -> None:
    with pytest.raises(OutputExists, match="the output lies inside the input"):
        run_data(ask(output=data / "out"))
