"""Archives and data files beside the pictures are never copied through: they may hold the originals."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import file_bytes, noise

import noli
from noli.core.errors import DataError
from noli.testing import KEYS


@pytest.mark.parametrize("name", ["backup.zip", "train.npz", "old.parquet", "clip.mp4", "a/pages.pdf"])
def test_containers_are_refused_or_left_out_by_policy(name: str, tmp_path: Path) -> None:
    for seed, label in enumerate(("a", "b")):
        for i in range(2):
            path = tmp_path / "in/train" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file_bytes(noise(8, 8, 3, seed=2 * seed + i), "PNG"))
    rows = "".join(f"train/{label}/{i}.png,{label}\n" for label in ("a", "b") for i in range(2))
    (tmp_path / "in/metadata.csv").write_text("file_name,label\n" + rows)
    (tmp_path / "in/readme.txt").write_text("said")
    (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "in" / name).write_bytes(b"PK\x03\x04 originals")
    with pytest.raises(DataError, match=name.rpartition("/")[2]):
        noli.protect(tmp_path / "in", tmp_path / "out", key=KEYS[0], workers=1)
    run = noli.protect(tmp_path / "in", tmp_path / "out", key=KEYS[0], workers=1, on_error="skip")
    assert run.manifest.results["items"] == 4
    copied = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert copied == {"0.png", "1.png", "metadata.csv", "readme.txt"}
