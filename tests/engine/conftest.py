"""Fixtures for the runner's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # workers inherit sys.path

import engine_fake_method as fake
from engine_data import KEY, make_folder

from noli.engine.request import RunRequest


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "in", 23)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., RunRequest]:
    def build(
        source: Path | str = tmp_path / "in", output: Path | str = tmp_path / "out", **changes: Any
    ) -> RunRequest:
        config = {name: changes.pop(name) for name in list(changes) if name in fake.Config.model_fields}
        changes.setdefault("cfg", fake.Config(**config))
        changes.setdefault("key", KEY)
        changes.setdefault("shard_size", 4)
        changes.setdefault("spec", fake.SPEC)
        return RunRequest(source=str(source), output=str(output), **changes)

    return build
