from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import engine_fake_method as fake
import numpy as np
import pytest
from engine_data import KEY, OTHER_KEY, make_image
from PIL import Image

from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.run import Run
from noli.engine.request import RunRequest, run_folder
from noli.engine.runner import run_data
from noli.engine.undo import UndoResult, undo

Ask = Callable[..., RunRequest]


def back(place: Path, tmp_path: Path, **more: object) -> UndoResult:
    return undo(place, tmp_path / "back", KEY, spec=fake.SPEC, **more)  # type: ignore[arg-type]


def same_pixels(a: Path, b: Path) -> bool:
    names = sorted(path.relative_to(a) for path in a.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(b) for path in b.rglob("*") if path.is_file())
    return all(np.array_equal(np.asarray(Image.open(a / n)), np.asarray(Image.open(b / n))) for n in names)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("by", ["output", "run"])
def test_undo_restores_everything(data: Path, ask: Ask, tmp_path: Path, workers: int, by: str) -> None:
    run = run_data(ask())
    found = back(run.path if by == "run" else tmp_path / "out", tmp_path, workers=workers)
    assert same_pixels(data, tmp_path / "back")
    assert (found.items, found.compared, found.identical) == (23, 23, 23)
    assert (found.psnr_mean, found.psnr_min) == (None, None)
    assert found.run.path == tmp_path / "back.noli"
    assert found.run.manifest.verb == "undo"
    again = back(tmp_path / "out", tmp_path)
    assert again.run.manifest == found.run.manifest


def test_extended_runs_can_be_undone(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    make_image(500).save(data / "ant/0.png")
    run_data(ask())
    assert back(tmp_path / "out", tmp_path).identical == 24
    assert same_pixels(data, tmp_path / "back")


def test_without_the_originals_nothing_is_compared(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    shutil.move(data, tmp_path / "moved")
    found = back(tmp_path / "out", tmp_path)
    assert (found.items, found.compared) == (23, 0)
    assert same_pixels(tmp_path / "moved", tmp_path / "back")


def test_changed_originals_are_not_compared(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    make_image(900).save(data / "ant/00002.png")
    assert back(tmp_path / "out", tmp_path).compared == 22


def test_moved_together(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    (tmp_path / "far").mkdir()
    for name in ("out", "out.noli"):
        shutil.move(tmp_path / name, tmp_path / "far" / name)
    assert back(tmp_path / "far/out.noli", tmp_path).identical == 23


def test_renamed_and_re_encoded_files(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    out = tmp_path / "out"
    (out / "ant/00000.png").rename(out / "ant/renamed.png")
    image = Image.open(out / "bee/00001.png")
    image.load()
    image.save(out / "bee/00001.png", compress_level=0)
    found = back(out, tmp_path)
    assert found.identical == 23
    notes = {record["path"]: record["notes"] for record in found.run.iter_records()}
    assert notes["bee/00001.png"] == ["the file changed after it was protected"]
    assert notes["ant/renamed.png"] == []


def test_foreign_files_are_refused_or_skipped(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    make_image(901).save(tmp_path / "out/ant/foreign.png")
    with pytest.raises(DataError, match="not made by the run") as caught:
        back(tmp_path / "out", tmp_path)
    assert caught.value.items == ("ant/foreign.png",)
    assert not (tmp_path / "back").exists()
    found = back(tmp_path / "out", tmp_path, on_error="skip")
    assert (found.items, found.run.manifest.results["skipped"]) == (23, 1)


def test_wrong_and_missing_keys(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask())
    with pytest.raises(WrongKey, match=KEY.id):
        undo(tmp_path / "out", tmp_path / "back", OTHER_KEY, spec=fake.SPEC)
    with pytest.raises(UsageError, match="needs the key"):
        undo(tmp_path / "out", tmp_path / "back", None, spec=fake.SPEC)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.noli"]


def test_what_cannot_be_undone(data: Path, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No run belongs"):
        back(data, tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        back(tmp_path / "nothing", tmp_path)
    run = run_data(ask())
    found = back(tmp_path / "out", tmp_path)
    with pytest.raises(UsageError, match="`undo` run"):
        undo(found.run.path, tmp_path / "more", KEY, spec=fake.SPEC)
    Run.open(run.path).update(status="interrupted", results={})
    with pytest.raises(UsageError, match="not finished"):
        back(tmp_path / "out", tmp_path)


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("a/out", "a/out.noli"),
        ("a/out/", "a/out.noli"),
        ("x.npz", "x.npz.noli"),
        ("s3://b/deep/safe/", "safe.noli"),
    ],
)
def test_run_folder_lies_beside_the_output(output: str, folder: str) -> None:
    assert run_folder(output) == Path(folder)
    assert run_folder(".").name == Path.cwd().name + ".noli"
