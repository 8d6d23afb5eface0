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
    "LSP at 8/255": "lsp",
    "LSP at SALM's L2": "lsp, L2 of salm",
    "SALM, masks of the first round kept (`refresh=0`)": "salm, masks kept",
    "SALM, `mask=gradient-input`": "salm gradient-input",
    "SALM, `mask=foreground`": "salm foreground",
    "SALM, `stop=0`, 12 rounds at most": "salm, 12 rounds",
    "SALM, half the pixels": "salm, half the pixels",
    "EM, class-wise": "em class-wise",
    "TAP": "tap",
    "OPS": "ops",
    "random noise of 8/255": "noise",
    "CUDA, keyed": "cuda keyed",
    "weave, no variation": "weave, no variation",
}
READERS = TABLE | {"SALM, masks kept": "salm, masks kept"}
ROWS = ("jpeg-10", "rsk+ff", "coin", "op", "leak-1-pair", "masked-median", "window")
COUNTERED = ("clean", "SALM", "EM", "EM at SALM's L2", "LSP at 8/255")


def crop_flip(name: str, data: str = "chest") -> Any:
    return SETS[data]["settings"][name]["rows"]["crop+flip"]


@pytest.mark.parametrize("title", TABLE)
def test_the_table_of_xrays(title: str) -> None:
    found, row = SETS["chest"]["settings"][TABLE[title]], crop_flip(TABLE[title])
    cells = ["", "", ""]
    if "psnr" in found:
        cells = [f"{found['psnr']:.1f} dB", f"{found['ssim']:.3f}", f"{100 * found['touched']:.0f} %"]
    line = [title, f"{100 * row['value']:.1f} %", f"{row['auc']:.3f}", *cells, str(len(row["values"]))]
    assert f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") in PAGE


@pytest.mark.parametrize("title", COUNTERED)
def test_the_countermeasures(title: str) -> None:
    rows = SETS["chest"]["settings"][TABLE[title]]["rows"]
    cells = [f" {100 * rows[row]['value']:.1f} % " if row in rows else " " for row in ROWS]
    assert f"| {title} |{'|'.join(cells)}|" in PAGE


@pytest.mark.parametrize(
    "title",
    [
        "SALM",
        "SALM, masks kept",
        "EM",
        "EM at SALM's L2",
        "LSP at 8/255",
        "CUDA, keyed",
        "random noise of 8/255",
    ],
)
def test_the_reader(title: str) -> None:
    found = SETS["chest"]["settings"][READERS[title]]["reader"]
    span = f"{found['low']:+.3f} to {found['high']:+.3f}"
    assert f"| {title} | {found['difference']:+.3f} | {span} | {found['auc_other_labels']:.3f} |" in PAGE
    assert f"clean held-out images (AUC {found['auc_clean']:.3f})" in PAGE
    assert found["seeds"] == 1


def test_the_words_on_tap() -> None:
    found = SETS["chest"]["settings"]["tap"]
    op, leak, jpeg = (f"{100 * found['rows'][r]['value']:.1f} %" for r in ("op", "leak-1-pair", "jpeg-10"))
    assert f"also under OP ({op}) and a leaked pair ({leak}); JPEG undoes it, too ({jpeg})" in PAGE
    salm, clean = SETS["chest"]["settings"]["salm"]["rows"], SETS["chest"]["settings"]["clean"]["rows"]
    for row in ("crop+flip", "op", "leak-1-pair"):
        assert found["rows"][row]["value"] < salm[row]["value"] - 0.1
    assert found["rows"]["jpeg-10"]["value"] > clean["jpeg-10"]["value"] - 0.02
    assert f"the reader loses {-found['reader']['difference']:.3f}." in PAGE
    measured = {name.split(",")[0] for name, one in SETS["chest"]["settings"].items() if one["rows"]}
    assert not measured & {"sem", "rem", "uc"}
    assert set(SETS["blood"]["settings"]["salm"]["rows"]) == {"crop+flip"}


def test_the_words() -> None:
    first, second, third = (100 * value for value in crop_flip("salm")["values"])
    assert f"SALM's three seeds left {first:.1f}, {second:.1f} and {third:.1f} %" in PAGE
    l2 = 100 * crop_flip("em, L2 of salm")["value"]
    assert f"here {first:.1f} and {l2:.1f} %" in PAGE
    kept = "{:.1f}, {:.1f} and {:.1f} %".format(*(100 * v for v in crop_flip("salm, masks kept")["values"]))
    assert f"(kept masks left {kept} instead of {first:.1f}, {second:.1f} and {third:.1f} %)" in PAGE
    assert max(first, second, third) < 100 * min(crop_flip("clean")["values"])
    lsp = crop_flip("lsp")["values"]
    assert all(salm < 100 * other for salm, other in zip((first, second), lsp, strict=True))
    cost = [SETS["chest"]["settings"][name]["cpu_seconds"] for name in ("salm", "em")]
    assert "{:.0f} CPU seconds beside {:.0f}".format(*cost) in PAGE
    cells = [f"{100 * crop_flip(name, 'blood')['value']:.1f} %" for name in ("clean", "salm", "lsp", "em")]
    assert "clean {}, SALM {}, LSP {}, EM {} (one seed)".format(*cells) in PAGE
    assert f"after {SETS['blood']['settings']['em']['rounds']:.0f} round of EM" in PAGE
    moved = [found["reader"] for found in SETS["blood"]["settings"].values() if "reader" in found]
    assert max(abs(reader["difference"]) for reader in moved) < 0.0015


def test_the_sets() -> None:
    chest, blood = (SETS[name]["images"] for name in ("chest", "blood"))
    assert f"| chest X-rays, grey, 32 px | {sum(chest['training'])} | {sum(chest['test'])}," in PAGE
    assert f"guessing reaches {100 * max(chest['test']) / sum(chest['test']):.1f} %" in PAGE
    assert f"| blood cells, colour, 32 px | {sum(blood['training'])}, from 205 smears" in PAGE
    assert f"| {sum(blood['test'])}, from 159 other smears" in PAGE
