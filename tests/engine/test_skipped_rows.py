"""Parquet rows that were left out: records count rows as the source does, the output only its own."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import noli
from noli.api._judging import _read
from noli.core.run import Run
from noli.engine.progress import Progress
from noli.methods.verify.config import Config
from noli.testing import KEYS


def write(path: Path, broken: tuple[int, ...], count: int = 40) -> Path:
    rows = []
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(cv2.resize(coarse, (32, 32), interpolation=cv2.INTER_CUBIC)).save(file, "PNG")
        data = file.getvalue()[: 40 if number in broken else None]
        rows.append({"image": {"bytes": data, "path": None}, "label": number % 2})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_diff_and_verify_pair_the_rows_that_are_left(tmp_path: Path) -> None:
    source = write(tmp_path / "d.parquet", broken=(0, 7))
    run = noli.protect(source, tmp_path / "out.parquet", key=KEYS[0], workers=1, on_error="skip")
    found = noli.diff(source, tmp_path / "out.parquet", ssim=False)
    assert found.items == 38
    assert found.psnr_mean == pytest.approx(run.manifest.results["psnr_mean"], abs=0.01)
    write(source, broken=())  # repaired: verification needs originals that can all be read
    subject = _read(run.output, str(source), Config(), None, Run.open(run.path), Progress())
    assert "stored_changed" not in subject.counts or subject.counts["stored_changed"] == 0
    assert not subject.doubt
    gaps = np.abs(subject.clean_x.astype(int) - subject.protected_x).mean((1, 2, 3))
    assert gaps.max() < 30, "every protected picture beside its own original"
