"""Every measured figure of the page on medical images stands in the committed result."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pages import DOCS, ROOT

SETS = json.loads((ROOT / "benchmarks/results/medical.json").read_text())["sets"]
PAGE = " ".join((DOCS / "medical.md").read_text().replace("**", "").split())
TABLE = {
    "clean": "clean",
    "SALM": "salm",
    "EM": "em",
    "EM at SALM's L2": "em, L2 of salm",
    "LSP at SALM's L2": "lsp, L2 of salm",
    "LSP at 8/255": "lsp",
    "SALM, `mask=gradient-input`": "salm gradient-input",
    "SALM, `mask=foreground`": "salm foreground",
    "EM, class-wise": "em class-wise",
    "SEM": "sem",
    "TAP": "tap",
    "OPS": "ops",
    "UC, own encoder": "uc",
    "random noise of 8/255": "noise",
    "CUDA, keyed": "cuda keyed",
    "weave": "weave",
}
CHEST = SETS["chest"]["settings"]
ROWS = (
    "crop+flip",
    "jpeg-10",
    "rsk+ff",
    "coin",
    "op",
    "leak-1-pair",
    "adversarial",
    "masked-median",
    "window",
)
COUNTERED = [title for title in TABLE if len(CHEST[TABLE[title]]["rows"]) > 5]
READ = ("SALM", "EM", "LSP at 8/255", "SEM", "TAP", "UC, own encoder", "CUDA, keyed", "weave")


def crop_flip(name: str, data: str = "chest") -> Any:
    return SETS[data]["settings"][name]["rows"]["crop+flip"]


@pytest.mark.parametrize("title", TABLE)
def test_the_table_of_xrays(title: str) -> None:
    found, row = CHEST[TABLE[title]], crop_flip(TABLE[title])
    cells = ["", "", ""]
    if "psnr" in found:
        cells = [f"{found['psnr']:.1f} dB", f"{found['ssim']:.3f}", f"{100 * found['touched']:.0f} %"]
    line = [title, f"{100 * row['value']:.1f} %", f"{row['auc']:.3f}", *cells]
    assert f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") in PAGE
    assert len(row["values"]) == 3


@pytest.mark.parametrize("title", COUNTERED)
def test_the_countermeasures(title: str) -> None:
    rows = CHEST[TABLE[title]]["rows"]
    cells = [f" {100 * rows[row]['value']:.1f} " if row in rows else " " for row in ROWS]
    assert f"| {title} |{'|'.join(cells)}|" in PAGE
    assert all(len(rows[row]["values"]) == 3 for row in rows)


def test_t2ue_in_words() -> None:
    rows = {name: row["value"] for name, row in CHEST["t2ue"]["rows"].items()}
    least = min(value for name, value in rows.items() if name != "crop+flip")
    words = (
        f"{100 * rows['crop+flip']:.1f} % after crop and flip, {100 * least:.1f} or more in the other rows"
    )
    assert words in PAGE
    assert all(len(CHEST["t2ue"]["rows"][name]["values"]) == 3 for name in ROWS)
    assert rows["crop+flip"] > CHEST["clean"]["rows"]["crop+flip"]["low"]


@pytest.mark.parametrize("title", READ)
def test_the_reader(title: str) -> None:
    found = CHEST[TABLE[title]]["reader"]
    span = f"{found['low']:+.3f} to {found['high']:+.3f}"
    assert found["seeds"] == 3
    line = f"| {title} | {found['difference']:+.3f} | {span} | {found['auc_other_labels']:.3f} |"
    assert line in PAGE


def test_the_words_on_sem() -> None:
    guess = max(SETS["chest"]["images"]["test"]) / sum(SETS["chest"]["images"]["test"])
    bound = (guess + crop_flip("clean")["value"]) / 2
    assert f"a row may reach {100 * bound:.1f} %" in PAGE
    rows = CHEST["sem"]["rows"]
    worst = max(row["value"] for row in rows.values())
    assert worst < bound
    assert f"stays below in all nine, its highest is {100 * worst:.1f} %" in PAGE
    beyond = sum(row["high"] > bound for row in rows.values())
    words = {
        1: "one",
        2: "two",
        3: "three",
        4: "four",
        5: "five",
        6: "six",
        7: "seven",
        8: "eight",
        9: "nine",
    }
    assert f"{words[beyond]} intervals reach beyond it" in PAGE
    others = {name for name, one in CHEST.items() if len(one["rows"]) == 9 and name not in ("sem", "clean")}
    assert all(max(row["value"] for row in CHEST[name]["rows"].values()) > bound for name in others)
    through = [row for row in ROWS if CHEST["weave"]["rows"][row]["value"] > bound]
    assert through == ["rsk+ff", "coin", "adversarial", "masked-median"]


def test_the_words() -> None:
    values = {name: [100 * value for value in crop_flip(name)["values"]] for name in ("salm", "em", "clean")}
    for title, name in (("SALM's three keys left", "salm"), ("EM's", "em")):
        assert "{} {:.1f}, {:.1f} and {:.1f} %".format(title, *values[name]) in PAGE
    span = crop_flip("salm")
    assert f"(their mean: {100 * span['low']:.0f} to {100 * span['high']:.0f} %)" in PAGE
    kept = [100 * value for value in crop_flip("salm, masks kept")["values"]]
    assert "(`refresh=0`) left {:.1f}, {:.1f} and {:.1f} %".format(*kept) in PAGE
    assert f"it left {100 * crop_flip('salm foreground')['value']:.1f} %" in PAGE
    assert max(values["salm"]) < min(values["clean"])
    assert CHEST["salm"]["psnr"] > CHEST["em"]["psnr"]
    assert CHEST["salm"]["ssim"] > CHEST["em"]["ssim"]
    cost = [CHEST[name]["cpu_seconds"] for name in ("salm", "em")]
    assert "{:.0f} CPU seconds beside {:.0f}".format(*cost) in PAGE
    undone = [row for row in ROWS[1:-1] if CHEST["salm"]["rows"][row]["value"] > 0.75]
    assert set(ROWS[1:-1]) - set(undone) == {"leak-1-pair"}
    reader = CHEST["salm"]["reader"]
    assert reader["low"] < -0.02 < reader["difference"]
    assert f"clean held-out images (AUC {reader['auc_clean']:.3f})" in PAGE
    cells = [f"{100 * crop_flip(name, 'blood')['value']:.1f} %" for name in ("clean", "salm", "lsp", "em")]
    assert "clean {}, SALM {}, LSP {}, EM {} (three keys), and".format(*cells) in PAGE
    blood = SETS["blood"]["settings"]
    assert all(len(blood[name]["rows"]["crop+flip"]["values"]) == 3 for name in blood)
    others = [
        one["value"]
        for name in ("salm", "lsp", "em")
        for row, one in blood[name]["rows"].items()
        if row != "crop+flip"
    ]
    assert len(others) == 27
    assert f"{100 * min(others):.1f} % or more in the nine other rows" in " ".join(PAGE.split())
    assert f"after {blood['em']['rounds']:.1f} rounds on average" in PAGE
    moved = [found["reader"] for found in SETS["blood"]["settings"].values() if "reader" in found]
    assert max(abs(reader["difference"]) for reader in moved) < 0.0015


def test_the_sets() -> None:
    chest, blood = (SETS[name]["images"] for name in ("chest", "blood"))
    assert f"| chest X-rays, grey, 32 px | {sum(chest['training'])} | {sum(chest['test'])}," in PAGE
    assert f"guessing reaches {100 * max(chest['test']) / sum(chest['test']):.1f} %" in PAGE
    assert f"| blood cells, colour, 32 px | {sum(blood['training'])}, from 205 smears" in PAGE
    assert f"| {sum(blood['test'])}, from 159 other smears" in PAGE
