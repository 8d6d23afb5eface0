from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from engine_data import make_image, tree_hash
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from noli.core.errors import DataError, OutputExists, UsageError
from noli.engine.pictures import evenly, measure, small
from noli.engine.plan import dry_run, preview
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.engine.sheet import Pair, contact_sheet
from noli.methods.protect import rem

Ask = Callable[..., RunRequest]


def test_dry_run_counts_and_writes_nothing(data: Path, ask: Ask, tmp_path: Path) -> None:
    before = tree_hash(tmp_path)
    plan = dry_run(ask(workers=2))
    assert tree_hash(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert (plan.items, plan.skipped, plan.layout) == (23, 0, "class-folders")
    assert plan.classes == {"ant": 12, "bee": 11}
    assert plan.formats == {"PNG": 23}
    assert plan.shapes == {"8x10x3": 23}
    assert plan.bytes_in == sum(path.stat().st_size for path in data.rglob("*.png"))
    assert len(plan.seconds_measured) == 3
    assert plan.seconds > 0
    assert plan.memory_mb > 10
    assert plan.fits
    assert not plan.resumes
    assert json.loads(json.dumps(plan.as_dict()))["classes"] == {"ant": 12, "bee": 11}


def test_dry_run_estimates_the_output_well(data: Path, ask: Ask, tmp_path: Path) -> None:
    for i in range(6):
        make_image(50 + i, (40 + i, 30, 3)).save(data / f"ant/large{i}.png")
    plan = dry_run(ask())
    run_data(ask())
    real = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.png"))
    assert 0.6 * real < plan.bytes_out < 1.7 * real
    assert dry_run(ask()).resumes


@pytest.mark.parametrize(("time", "lowest", "highest"), [(None, 100, 1e9), (9.0, 9, 60)])
def test_dry_run_of_long_learning_is_short_and_tells_its_length(
    time: float | None, lowest: float, highest: float, data: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noli.engine.plan.LEARNED_S", 3.0)
    days = rem.Config(**{**rem.SPEC.trial, "steps": 1_000_000, "time": time})
    begun = perf_counter()
    plan = dry_run(ask(spec=replace(rem.SPEC, module=rem.__name__), cfg=days))
    assert perf_counter() - begun < 60
    assert lowest <= plan.seconds < highest


def test_dry_run_says_when_the_disk_is_too_small(
    data: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    plan = dry_run(ask())
    assert plan.disk_free == 10
    assert not plan.fits


def test_dry_run_refuses_what_the_run_would_refuse(data: Path, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(OutputExists):
        dry_run(ask(output=data / "inside"))
    (data / "bee/00001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 23"):
        dry_run(ask())
    plan = dry_run(ask(on_error="skip"))
    assert (plan.items, plan.skipped) == (22, 1)
    with pytest.raises(UsageError, match="tried out"):
        dry_run(ask(undo_of=tmp_path))
    with pytest.raises(DataError, match="ValueError"):
        dry_run(ask(on_error="skip", fail_on="ant"))


def test_one_picture_under_two_labels_is_found_before_the_run(data: Path, ask: Ask, tmp_path: Path) -> None:
    (data / "bee/again.png").write_bytes((data / "ant/00000.png").read_bytes())
    with pytest.raises(DataError, match="under two labels") as caught:
        dry_run(ask())
    assert caught.value.items == ("bee/again.png",)
    with pytest.raises(DataError, match="under two labels"):
        preview(ask(), tmp_path / "sheet.png")
    plan = dry_run(ask(on_error="skip"))
    assert (plan.items, plan.skipped) == (23, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("n", [1, 4, 8])
def test_preview_is_a_sheet_of_the_right_items(data: Path, ask: Ask, tmp_path: Path, n: int) -> None:
    make_image(7, (8, 10)).save(data / "ant/00000.png")  # a grey one
    sheet = preview(ask(), tmp_path / "sheet.png", n)
    image = Image.open(sheet)
    assert image.format == "PNG"
    assert image.mode == "RGB"
    rows, blocks = (n, 1) if n <= 4 else (4, 2)
    assert image.width > blocks * 600
    assert image.height > rows * 200
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.noli").exists()
    # The first cell shows the first item, each pixel enlarged 20 times.
    first = np.asarray(Image.open(data / "ant/00000.png").convert("RGB"))
    cell = np.asarray(image)[104:304, 32:232]
    np.testing.assert_array_equal(cell[20 : 20 + 160][::20], np.repeat(first, 20, axis=1))


@pytest.mark.parametrize("n", [0, -3])
def test_a_preview_of_nothing_is_refused(n: int, data: Path, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one") as caught:
        preview(ask(), tmp_path / "sheet.png", n)
    assert caught.value.fix


def test_preview_shows_the_real_result(data: Path, ask: Ask, tmp_path: Path) -> None:
    preview(ask(), tmp_path / "a.png")
    run_data(ask())
    preview(ask(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_sheet_survives_hostile_names() -> None:
    before, after = np.zeros((3, 900, 1), np.uint8), np.full((3, 900, 1), 7, np.uint8)
    facts = {"label": None, "shape": [3, 900, 1], "psnr": None}
    pairs = [Pair({"path": path, **facts}, before, after) for path in ("x" * 500, "caf\udce9/ü漢.png")]
    assert contact_sheet(pairs, title="T" * 300, note="n").startswith(b"\x89PNG")


@given(count=st.integers(1, 200), n=st.integers(1, 12))
def test_evenly_spaced(count: int, n: int) -> None:
    picked = list(evenly(range(count), count, n))
    assert len(picked) == min(n, count)
    assert picked == sorted(set(picked))
    if n > 1:
        assert (picked[0], picked[-1]) == (0, count - 1)
        gaps = np.diff(picked)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def test_small_keeps_aspect_and_depth() -> None:
    assert small(np.full((2000, 1000, 3), 9, np.uint8)).shape == (512, 256, 3)
    assert small(np.full((1, 3000, 1), 9, np.uint8)).shape == (1, 512, 1)
    deep = np.array([[[0], [128], [129], [65535]]], np.uint16)
    assert small(deep).ravel().tolist() == [0, 0, 1, 255]


@given(seed=st.integers(0, 10**6), deep=st.booleans(), grey=st.booleans())
@settings(max_examples=40, deadline=None)
def test_measure_agrees_with_the_definitions(seed: int, deep: bool, grey: bool) -> None:
    rng = np.random.default_rng(seed)
    dtype, top = (np.uint16, 65535) if deep else (np.uint8, 255)
    shape = (*rng.integers(1, 9, 2), 1 if grey else 3)
    before, after = (rng.integers(0, top + 1, shape, dtype=dtype) for _ in range(2))
    found = measure(before, after)
    squares = [(int(a) - int(b)) ** 2 for a, b in zip(before.ravel(), after.ravel(), strict=True)]
    assert found["linf"] == max(squares) ** 0.5
    if sum(squares):
        assert found["psnr"] == pytest.approx(10 * np.log10(top**2 * len(squares) / sum(squares)), abs=1e-3)
    assert measure(before, before)["psnr"] is None
