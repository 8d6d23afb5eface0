"""What the command prints fits the terminal and says what was and what was not measured."""

from __future__ import annotations

import io
import math

import pytest
from auto_fakes import FakeBench, choice, quality, row
from rich.console import Console

from noli.cli.auto import shown
from noli.core.key import Key


def printed(width: int, key: Key, **asked: object) -> list[str]:
    bench = FakeBench(
        {
            "cuda-reflect": dict.fromkeys("abc", 0.2),
            "weave-plain": {"a": 0.1, "b": 0.3, "c": 0.6},
            "bad": dict.fromkeys("abc", 0.9),
            "protect/low": dict.fromkeys("abc", 0.1),
            "gone": dict.fromkeys("abc", 0.1),
        },
        {
            "cuda-reflect": quality(24.04, 0.876, 1234.5),
            "weave-plain": quality(30, 0.9, 3.21),
            "bad": quality(22, 0.8),
            "protect/low": quality(12.3, 0.4),
            "gone": "The disk on which the method keeps its files is full; nothing could be written there.",
        },
    )
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    for block in shown(choice(bench, key, budget=6.5, **asked)):
        console.print(block)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("width", [80, 120])
def test_every_line_fits_and_nothing_is_cut_off(width: int, key: Key) -> None:
    lines = printed(width, key)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    table = {line.split()[0]: line.split() for line in lines if " dB" in line and not line.startswith(" ")}
    assert table["cuda-reflect"][1:] == ["20.0", "%", "20.0", "%", "20.0", "%", "24.0", "dB", "0.88", "1234"]
    assert table["weave-plain"][1:] == ["10.0", "%", "30.0", "%", "60.0", "%", "30.0", "dB", "0.90", "3.2"]
    assert table["bad"][1:] == ["90.0", "%", "-", "-", "22.0", "dB", "0.80", "1.0"]


def test_a_trial_s_time_is_a_lower_bound(key: Key) -> None:
    trial = quality(24.0, 0.8)._replace(seconds=math.inf, at_least=12.3)
    bench = FakeBench({"cuda": dict.fromkeys("abc", 0.2)}, {"cuda": trial})
    found = choice(bench, key)
    (tried,) = found.candidates
    assert (tried.seconds, tried.at_least) == (None, 12.3)
    console = Console(width=80, file=io.StringIO(), markup=False, highlight=False)
    console.print(shown(found)[0])
    assert "24.0 dB  0.80    > 12" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_was_set_aside_is_listed_with_the_reason(key: Key) -> None:
    said = " ".join(" ".join(printed(80, key)).split())
    assert "protect/low below the floor PSNR 12.3 dB, SSIM 0.40" in said
    assert "gone skipped The disk on which" in said
    assert "- and ≥: not all rows were measured." in said
    assert "to hold: at most 40.0 %." in said
    assert "Picked: cuda-reflect (holds)" in said
    assert "took 12 s, allowed 10 min 0 s." in said


def test_nothing_picked_is_said(key: Key) -> None:
    said = " ".join(printed(80, key, psnr=50))
    assert "Nothing was picked." in said
    assert "30.0 dB" in said
    assert row("a", 0.2).high < 0.4
