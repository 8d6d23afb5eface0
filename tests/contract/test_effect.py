"""The claimed direction holds on small real data, at thresholds that were fixed before the first run.

Fourteen photographs of the demo set, 80 crops each for training. A network that sees enough to learn clean
data well must learn clearly less from protected data: at least FIFTEEN points less. The crops are equalised:
with their colour and exposure the photographs can be told apart without any detail, and what the published
mode does to them is mostly its change of exposure (see the demo's control). The network was `small` at first;
`tiny` came later, for speed; CUDA and the weave pass with it; the others do not (figures below: one key).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import noli
from noli.data.demo import photo_crops
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import measure_row
from noli.methods.verify.load import load
from noli.testing import KEYS

FIFTEEN = 0.15
CLEAN_AT_LEAST = 0.5
TINY = {"network": "tiny"}
CFG = Config(epochs=8, min_steps=100, max_items=1120, **TINY)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("effect") / "photos"
    return photo_crops(folder, per_class_train=80, per_class_test=40, equalised=True)


@pytest.fixture(scope="module")
def accuracy(photos: Path) -> Callable[[Path], float]:
    def measure(protected: Path) -> float:
        part = "clean" if protected == photos else "protected"
        return measure_row(load(protected, photos, CFG), CFG, part=part).value

    return measure


@pytest.fixture(scope="module")
def clean(photos: Path, accuracy: Callable[[Path], float]) -> float:
    return accuracy(photos)


def weak(reason: str) -> list[pytest.MarkDecorator]:
    # Slow: a training that is known to miss the threshold tells a developer nothing new.
    return [pytest.mark.xfail(raises=AssertionError, reason=reason), pytest.mark.slow]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param("cuda", {"mode": "paper"}, id="cuda-paper"),
        pytest.param("cuda", {"mode": "keyed"}, id="cuda-keyed"),
        pytest.param("lsp", {}, id="lsp", marks=weak("measured 63.2 % beside 61.4 % from clean photographs")),
        pytest.param("ar", {}, id="ar", marks=weak("measured 62.5 % beside 61.4 % from clean photographs")),
        pytest.param("ops", {}, id="ops", marks=weak("measured 60.9 % beside 61.4 % from clean photographs")),
        pytest.param("weave", {}, id="weave"),
        pytest.param(
            "em",
            {"noise": "class", **TINY},
            id="em-class-wise",
            marks=weak("measured 62.3 % beside 61.4 % from clean photographs"),
        ),
        pytest.param("em", TINY, id="em", marks=weak("measured 65.0 % beside 63.0 % from clean photographs")),
        pytest.param(
            "sem",
            {"steps": 60, **TINY},
            id="sem",
            marks=weak("measured 56.4 % beside 63.0 % from clean photographs"),
        ),
        pytest.param(
            "salm", TINY, id="salm", marks=weak("measured 64.5 % beside 63.0 % from clean photographs")
        ),
        pytest.param(
            "tap", TINY, id="tap", marks=weak("measured 60.4 % beside 63.0 % from clean photographs")
        ),
        pytest.param(
            "uc",
            {"encoder": "own", **TINY},
            id="uc",
            marks=weak("measured 59.8 % beside 61.4 % from clean photographs"),
        ),
    ],
)
def test_protected_photographs_teach_less(
    method: str,
    options: dict[str, Any],
    photos: Path,
    clean: float,
    accuracy: Callable[[Path], float],
    tmp_path: Path,
) -> None:
    noli.protect(photos, tmp_path / "safe", method, key=KEYS[0], workers=1, **options)
    assert clean >= CLEAN_AT_LEAST
    assert accuracy(tmp_path / "safe") <= clean - FIFTEEN
