"""What SEM's module says of its speed is what was measured."""

from __future__ import annotations

import json

import pytest
from pages import ROOT

from noli.methods.protect import sem

TEXT = " ".join(str(sem.__doc__).split())


def rows(kind: str) -> list[dict[str, float]]:
    found = json.loads((ROOT / f"benchmarks/results/sem_speed_{kind}.json").read_text())
    assert found["rem_to_sem_passes"] == pytest.approx(9.2, abs=0.05)
    return list(found["rows"])


def test_the_inner_loop_against_the_published_formulation() -> None:
    tiny, small, deep = (row["speedup"] for row in rows("amx"))
    assert f"{tiny:.1f} times as fast as the published formulation on the tiny network" in TEXT
    assert f"and {small:.1f} times on small and ResNet-18" in TEXT
    assert round(deep, 1) == round(small, 1)
    words = "with AVX-512 bf16, beside other work, {:.1f}, {:.1f} and {:.1f} times"
    assert words.format(*(row["speedup"] for row in rows("avx512"))) in TEXT
    tiny, small, deep = (row["speedup"] for row in rows("float32"))
    assert "1.4 times and as fast" in TEXT
    assert (round(tiny, 1), round(small, 1), round(deep, 1)) == (1.4, 1.4, 1.0)


def test_rem_costs_more() -> None:
    kinds = {
        "amx": "{:.1f} and {:.1f} times its CPU seconds (AMX)",
        "avx512": "{:.1f} and {:.1f} (AVX-512 bf16)",
        "float32": "{:.1f} and {:.1f} (float32;",
    }
    for kind, words in kinds.items():
        assert words.format(*(row["rem_to_sem_cpu"] for row in rows(kind)[:2])) in TEXT
