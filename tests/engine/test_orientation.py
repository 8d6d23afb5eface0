"""Pictures whose EXIF orientation turns them, with and without their metadata: protect, diff, undo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import noli
from noli.testing import KEYS


def photograph(seed: int) -> Image.Image:
    fine = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(fine, (48, 36), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("policy", ["keep", "strip"])
@pytest.mark.parametrize("output", ["png", "same"])
def test_turned_photographs_come_back(policy: str, output: str, tmp_path: Path) -> None:
    source, safe, back = tmp_path / "in", tmp_path / "safe", tmp_path / "back"
    for number, turn in enumerate((1, 3, 6, 8)):
        for label in ("a", "b"):
            exif = Image.Exif()
            exif[274] = turn
            (source / label).mkdir(parents=True, exist_ok=True)
            photograph(number + 10 * ord(label)).save(source / label / f"{turn}.jpg", exif=exif, quality=95)
    run = noli.protect(source, safe, key=KEYS[0], metadata=policy, format=output, workers=1)
    found = noli.diff(source, safe, ssim=False)
    assert found.items == 8
    assert found.psnr_mean == pytest.approx(run.manifest.results["psnr_mean"], abs=0.05)
    restored = noli.undo(safe, back, key=KEYS[0], workers=1)
    assert restored.compared == 8
    after = noli.diff(source, back, ssim=False)
    assert after.psnr_mean == pytest.approx(restored.psnr_mean, abs=0.05)
    if output == "png":
        assert after.psnr_min is not None
        assert after.psnr_min > 35
