from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_data import make_folder, tree_hash
from hypothesis import given
from hypothesis import strategies as st

from noli.core.run import Run
from noli.engine.request import RunRequest
from noli.engine.results import Spread, Tally, tally
from noli.engine.runner import run_data

Ask = Callable[..., RunRequest]


@given(values=st.lists(st.none() | st.floats(-100, 100), max_size=30))
def test_spread_against_the_definitions(values: list[float | None]) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    finite = [value for value in values if value is not None]
    named = spread.named("x")
    assert spread.identical == len(values) - len(finite)
    if not finite:
        assert set(named.values()) == {None}
        return
    assert named["x_min"] == min(finite)
    assert named["x_max"] == max(finite)
    assert named["x_mean"] == pytest.approx(sum(finite) / len(finite), abs=1e-3)


def record(path: str, **changes: object) -> dict[str, object]:
    base = {"path": path, "out": path, "sha256_in": "a", "sha256_out": "b", "size": 10, "size_out": 12}
    return {**base, "psnr": 20.0, "linf": 3, "bits": 8, "notes": [], **changes}


def test_tally_counts() -> None:
    found = Tally()
    for one in (
        record("a", psnr=None, linf=0),
        record("b", bits=16, linf=257, notes=["GPS position removed"]),
        record("c", psnr=30.0, notes=["palette expanded to RGB"], restored_psnr=41.0),
        {"path": "d", "error": "broken"},
        {"path": "e", "error": "broken"},
        record("d", restored_psnr=None),  # repaired later
    ):
        found.add(one)
    results = found.results()
    assert (results["items"], results["skipped"], results["identical"]) == (4, 1, 1)
    assert (results["psnr_mean"], results["psnr_min"], results["psnr_max"]) == (23.3333, 20.0, 30.0)
    assert results["linf_max"] == pytest.approx(3)
    assert (results["bytes_in"], results["bytes_out"]) == (40, 48)
    assert results["with_gps"] == 1
    assert (results["restored_compared"], results["restored_identical"]) == (2, 1)
    assert results["restored_psnr_mean"] == 41.0


def test_hashes_can_be_recomputed_by_anybody(data: Path, ask: Ask) -> None:
    run = run_data(ask())
    before, after = hashlib.sha256(), hashlib.sha256()
    for one in run.iter_records():
        before.update(f"{one['path']}\0{one['sha256_in']}\n".encode())
        after.update(f"{one['out']}\0{one['sha256_out']}\n".encode())
    assert run.manifest.input is not None
    assert run.manifest.output is not None
    assert run.manifest.input.hash == before.hexdigest()
    assert run.manifest.output.hash == after.hexdigest()
    assert tally(run).shards == list(run.manifest.shards)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_deleted_comes_back(data: Path, ask: Ask, tmp_path: Path, seed: int) -> None:
    run_data(ask())
    make_folder(data, 3, first=100)
    run = run_data(ask())
    whole, manifest = tree_hash(tmp_path / "out"), run.manifest
    rng = random.Random(seed)
    for file in [*(tmp_path / "out").rglob("*.png"), *run.path.glob("shards/*")]:
        if rng.random() < 0.2:
            file.unlink()
    for name in ("index-1.jsonl", "preview.npz"):
        if name != "index-1.jsonl" and rng.random() < 0.5:
            run.artifact(name).unlink()
    again = run_data(ask(workers=1 + seed % 2))
    assert tree_hash(tmp_path / "out") == whole
    assert again.manifest.shards == manifest.shards
    assert again.manifest.output == manifest.output
    assert Run.open(run.path).manifest.status == "done"
