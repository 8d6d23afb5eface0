"""``noli lock`` as a person or a script calls it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noli.core.key import Key

Run = Callable[..., Any]


def test_the_size_of_a_key_is_told_and_not_as_its_strength(noli: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / "photos" / "x.png")
    Key.new(tmp_path / "k.key")
    words = (
        "lock",
        "shuffle",
        tmp_path / "photos",
        "-o",
        tmp_path / "out",
        "--key",
        tmp_path / "k.key",
        "--workers",
        "1",
    )
    done = noli(*words, "--block", "2")
    assert done.code == 0
    assert "obfuscation, not confidentiality" in done.err
    assert "what an attack takes is not measured here" in " ".join(done.out.split())
    assert "To bring them back: noli undo" in done.err
    found = noli(*words, "--block", "2", "--json").json
    assert found["key_bits"]["nominal"] == found["key_bits"]["capped"] == pytest.approx(math.log2(479001600))
