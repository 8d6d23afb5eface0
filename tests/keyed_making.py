"""A small keyed model with two pairs, its pictures and its keys, for tests that use or attack it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import noli
from noli.data.demo import photo_crops
from noli.testing import KEYS

# What the measurements of these tests are given.
FEW: dict[str, Any] = {
    "wrong_keys": 2, "attacked": 8, "attack_steps": 2, "targets": 2, "queries": 4, "thief_labels": 1,
}  # fmt: skip


def write_locked(place: Path, **options: Any) -> Path:
    """Write ``photos/``, ``owner.key``, ``other.key`` and ``model/`` with its run folder into a folder."""
    photo_crops(place / "photos", size=16, per_class_train=12, per_class_test=4)
    # Fixed ones: of so few pictures a model under an unlucky key gets none right, and cannot be attacked.
    for key, name in zip(KEYS, ("owner.key", "other.key"), strict=True):
        key.write(place / name)
    small = {"side": 16, "epochs": 3, "body_epochs": 3, **FEW, **options}
    noli.lock_model(place / "photos" / "train", place / "model", key=place / "owner.key", **small)
    return place


def copy_to_work_in(made: Path, place: Path, patch: pytest.MonkeyPatch) -> Path:
    """Copy what was written to ``place/locked``, and go there."""
    patch.chdir(shutil.copytree(made, place / "locked"))
    return place / "locked"
