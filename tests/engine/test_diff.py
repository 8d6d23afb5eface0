from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engine_data import make_folder, make_image
from PIL import Image

from noli.core.errors import DataError
from noli.engine.diff import diff
from noli.engine.progress import Progress
from noli.engine.request import RunRequest
from noli.engine.runner import run_data

Ask = Callable[..., RunRequest]


def test_diff_against_the_definitions(data: Path, ask: Ask, tmp_path: Path) -> None:
    run = run_data(ask())
    found = diff(data, tmp_path / "out")
    records = {record["path"]: record for record in run.iter_records()}
    assert (found.items, found.identical) == (23, 0)
    assert found.psnr_min == pytest.approx(min(record["psnr"] for record in records.values()), abs=1e-3)
    assert found.psnr_mean == pytest.approx(run.manifest.results["psnr_mean"], abs=1e-3)
    assert found.linf_max == run.manifest.results["linf_max"]
    assert found.ssim_mean is not None
    assert found.ssim_min is not None
    assert -1 <= found.ssim_min <= found.ssim_mean <= 1
    lowest = sorted(record["psnr"] for record in records.values())[:10]
    assert [row["psnr"] for row in found.worst] == pytest.approx(lowest, abs=1e-3)
    assert len(found.figures) == 8
    np.testing.assert_array_equal(found.figures[0].before, np.asarray(Image.open(data / "ant/00000.png")))
    assert "figures" not in json.loads(json.dumps(found.as_dict()))
    assert len(found.figures) == 8
    assert Image.open(found.save_sheet(tmp_path / "sheet.png")).format == "PNG"


def test_a_data_set_does_not_differ_from_itself(data: Path) -> None:
    found = diff(data, data, ssim=False)
    assert (found.items, found.identical, found.linf_max) == (23, 23, 0)
    assert (found.psnr_mean, found.psnr_min, found.ssim_mean) == (None, None, None)


def test_partners_across_suffixes(tmp_path: Path) -> None:
    for folder, names in (
        ("a", ("x.jpg", "y.png", "z.png", "only.png")),
        ("b", ("x.png", "y.jpg.png", "y.png")),
    ):
        (tmp_path / folder).mkdir()
        for i, name in enumerate(names):
            make_image(i).save(tmp_path / folder / name)
    make_image(9).save(tmp_path / "a/y.jpg")
    make_image(9, (3, 3, 3)).save(tmp_path / "b/z.png")
    found = diff(tmp_path / "a", tmp_path / "b", ssim=False)
    assert {(row["path"], row["other"]) for row in found.worst} == {
        ("x.jpg", "x.png"),
        ("y.jpg", "y.jpg.png"),
        ("y.png", "y.png"),
    }
    assert found.unlike == ["z.png"]
    assert found.only_a == ["only.png"]
    assert found.missing == {"a": 1, "b": 0, "unlike": 1, "unreadable": 0}


def test_the_worst_possible_pair_is_the_worst(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / name / f"{i:02d}.png")
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "b/00.png")
    Image.fromarray(np.full((4, 4), 90, np.uint8)).save(tmp_path / "b/11.png")
    found = diff(tmp_path / "a", tmp_path / "b", ssim=False)
    assert [row["path"] for row in found.worst[:3]] == ["00.png", "11.png", "01.png"]
    assert (found.psnr_min, len(found.worst)) == (0.0, 10)


def test_a_comparison_that_fails_ends_its_progress(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noli.ops.metrics.psnr", lambda *_: 1 / 0)
    bar = Progress()
    ended: list[str] = []
    monkeypatch.setattr(bar, "finish", lambda: ended.append("compare"))
    with pytest.raises(ZeroDivisionError):
        diff(data, data, ssim=False, progress=bar)
    assert ended == ["compare"]


def test_unreadable_items_are_counted(data: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "b", 23)
    (tmp_path / "b/ant/00000.png").write_bytes(b"no")
    found = diff(data, tmp_path / "b", ssim=False)
    assert (found.items, found.unreadable) == (22, ["ant/00000.png"])


def test_nothing_in_common(data: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "b", 3, classes=("cat",))
    with pytest.raises(DataError, match="no item in common"):
        diff(data, tmp_path / "b")


def test_sixteen_bit_changes_are_given_in_8_bit_levels(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 257)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / name / "x.png")
    assert diff(tmp_path / "a", tmp_path / "b", ssim=False).linf_max == pytest.approx(1)
