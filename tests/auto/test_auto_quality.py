"""Quality in a trial is that of the run that follows, and fine changes of large pictures are noticed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noli
from noli.core.errors import UsageError
from noli.core.evidence import Row
from noli.core.key import Key
from noli.engine.auto.bench import Bench
from noli.engine.auto.candidates import Candidate
from noli.engine.auto.quality import FEWEST, MOST, Quality, Reach, some
from noli.engine.auto.search import Job, TimeUp
from noli.methods.verify.config import Config
from noli.ops import metrics

CUDA = Candidate("cuda", "protect/cuda")


def bench(photos: Path, key: Key, tmp_path: Path, **settings: Any) -> Bench:
    from noli.api._protect import request_for
    from noli.data.sources import open_source
    from noli.engine.auto.sample import read

    policies = {name: settings.pop(name) for name in ("format",) if name in settings}
    cfg = Config(network="tiny", min_test=8, min_per_class=2, holdout=0.25, **settings)
    request = request_for(photos, tmp_path / "safe", "cuda", key=key, workers=1, **policies)
    source = open_source(photos)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Bench(request, source, read(request, source, cfg), cfg, 0, scratch, lambda: 0.0)


@pytest.mark.parametrize("kind", ["png", "same"])
def test_psnr_and_ssim_are_those_of_the_run(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path, kind: Any
) -> None:
    photos = class_folders(each=8)
    if kind == "same":  # what is stored is what counts: JPEG costs quality
        for file in photos.rglob("*.png"):
            Image.open(file).save(file.with_suffix(".jpg"), quality=90)
            file.unlink()
    trial = bench(photos, key, tmp_path, format=kind)
    found = trial.ready(CUDA, math.inf)
    run = noli.protect(photos, tmp_path / "safe", key=key, workers=1, format=kind)
    tried = {one.row["path"] for one in trial.sample.train}
    psnr = [record["psnr"] for record in run.iter_records() if record["path"] in tried]
    ssim = [
        metrics.ssim(np.asarray(Image.open(photos / name)), np.asarray(Image.open(tmp_path / "safe" / name)))
        for name in tried
    ]
    assert found.images == len(psnr) == 18
    assert (found.psnr, found.psnr_min) == (pytest.approx(np.mean(psnr), abs=1e-3), min(psnr))
    assert (found.ssim, found.ssim_min) == (pytest.approx(np.mean(ssim)), pytest.approx(min(ssim)))


def test_training_images_are_those_that_verify_would_load(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path
) -> None:
    from noli.methods.verify.load import load

    photos = class_folders(each=8)
    trial = bench(photos, key, tmp_path)
    trial.ready(CUDA, math.inf)
    trial.open(CUDA)
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    whole = load(tmp_path / "safe", photos, trial.cfg)
    ours = trial._trainers["cuda"].subject
    stored = {image.tobytes() for image in whole.protected_x}
    # The trial holds out other items than verify does only where there is a choice; here there is none.
    assert {image.tobytes() for image in ours.protected_x} == stored
    assert {image.tobytes() for image in ours.test_x} == {image.tobytes() for image in whole.test_x}


def test_needs_that_are_not_met_are_said(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path
) -> None:
    from dataclasses import replace

    from noli import registry
    from noli.engine.auto.bench import _unmet

    sample = bench(class_folders(each=8), key, tmp_path).sample
    spec = registry.get("protect/cuda")
    assert _unmet(spec, sample) == ""
    assert "caption" in _unmet(replace(spec, needs=frozenset({"text"})), sample)
    colour = replace(spec, needs=frozenset({"color"}))
    assert _unmet(colour, sample) == ""
    sample.totals.shapes[(8, 8, 1)] = 1
    assert "grey" in _unmet(colour, sample)


def test_learning_that_takes_too_long_is_stopped(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = bench(class_folders(each=8), key, tmp_path)

    def prepare(summary: Any, key: Key, cfg: Any, previous: Any) -> None:
        summary.study.tell(1, 2, "noise")
        raise AssertionError("it should have been stopped")

    monkeypatch.setattr("noli.engine.auto.bench.load_method", lambda module: SimpleNamespace(prepare=prepare))
    with pytest.raises(TimeUp):
        trial.ready(CUDA, until=0.0)
    with pytest.raises(noli.NoliError, match="eps"):
        trial.ready(Candidate("bad", "protect/em", {"eps": 7}), math.inf)


def test_what_needs_no_pictures_gets_none(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = bench(class_folders(each=8, size=24), key, tmp_path)

    def prepare(summary: Any, key: Key, cfg: Any, previous: Any) -> None:
        assert summary.study.shapes == [(24, 24, 3)] * len(summary.study.items)
        summary.study.images(8)

    monkeypatch.setattr("noli.engine.auto.bench.load_method", lambda module: SimpleNamespace(prepare=prepare))
    with pytest.raises(UsageError, match="works without the pictures"):
        trial.ready(CUDA, math.inf)


def test_as_many_pictures_are_measured_as_their_size_allows() -> None:
    rows: list[Any] = [{"path": str(n)} for n in range(1000)]
    counts = [len(some(rows, pixels)) for pixels in (1, 32 * 32, 512 * 512, 12_000_000)]
    assert counts == [MOST, MOST, 64, FEWEST]
    assert len(some(rows[:3], 100)) == 3
    assert len(some(rows, 1024 * 1024)) == 16
    assert Quality().images == 0


def shrink(image: np.ndarray) -> np.ndarray:
    side = image.shape[0] // 8
    return image.reshape(8, side, 8, side, -1).mean((1, 3)).astype(np.uint8)


def test_reach_tells_fine_changes_from_coarse_ones() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    checks = ((np.indices((64, 64)).sum(0) % 2) * 40 - 20)[..., None]
    fine, coarse = (grey + checks).astype(np.uint8), grey + np.uint8(20)
    small = np.full((8, 8, 3), 128, np.uint8)
    for after, expected in ((fine, 0.0), (coarse, 1.0)):
        reach = Reach(shrink)
        reach.look("a", grey, after)
        assert reach.ratio(lambda path: (small, small + np.uint8(20))) == pytest.approx(expected, abs=0.01)
    reach.look("b", grey, grey)
    assert reach.ratio(lambda path: (small, small)) == 1.0


def test_a_change_that_vanishes_on_large_pictures_is_set_aside(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noli.engine.auto.sample.WORKING_SIDE", 32)
    trial = bench(class_folders(each=8, size=120), key, tmp_path, size=16)
    for candidate in (CUDA, Candidate("lsp", "protect/lsp")):
        trial.ready(candidate, math.inf)
    trial.open(Candidate("lsp", "protect/lsp"))  # its patches are as wide as a quarter of the picture
    with pytest.raises(noli.NoliError, match="At full size only"):
        trial.open(CUDA)


def test_trainings_side_by_side_give_the_same_in_the_same_order(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path, training: Any
) -> None:
    import torch

    trial = bench(class_folders(each=8), key, tmp_path)
    trial.ready(CUDA, math.inf)
    trial.open(CUDA)
    training.accuracy |= {"coin": 0.75, "op": 0.25}
    jobs = [Job(CUDA, name) for name in ("crop+flip", "coin", "op", "leak-1-pair", "grayscale")]
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with trial.training():
                found[threads] = list(trial.cells(iter(jobs)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[1] == found[3]
    assert [job for job, _ in found[3]] == jobs
    values = [row.value for _, row in found[3] if isinstance(row, Row)]
    assert values == pytest.approx([0.4, 0.75, 0.25, 0.4, 0.4], abs=0.1)
    assert trial._trainers["cuda"].stopped.is_set()
