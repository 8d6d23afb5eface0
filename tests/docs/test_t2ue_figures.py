"""Every measured figure of the page on zero contact stands in the committed results."""

from __future__ import annotations

import json

import pytest
from pages import DOCS, ROOT

from noli.train.options import GeneratorConfig

FOUND = json.loads((ROOT / "benchmarks/results/t2ue.json").read_text())
PAGE = " ".join((DOCS / "zero-contact.md").read_text("utf-8").replace("**", "").split())
FOUND_IN = ("cifar10", "emoji")
TITLES = {
    "clean pictures": "clean",
    "random noise per picture": "random per picture",
    "random noise per class": "random per class",
    "T2UE": "t2ue",
    "T2UE, one noise per class": "t2ue class-wise",
    "T2UE, `aligned` surrogate": "t2ue aligned",
    "EM, class-wise": "em class-wise",
    "EM, per picture": "em",
}


@pytest.mark.parametrize("title", TITLES)
def test_the_table(title: str) -> None:
    name, cells = TITLES[title], [title]
    accuracy = FOUND["cifar10"]["supervised"].get(name)
    cells.append(f"{100 * accuracy['accuracy']:.1f} %" if accuracy else "")
    for data in FOUND_IN:
        one = FOUND[data]["retrieval"].get(name)
        shares = [f"{100 * one[way]:.1f} %" if one else "" for way in ("i2t_hit10", "t2i_hit10")]
        cells += [shares[0], f"{one['i2t_median_rank']:.0f}" if one else "", shares[1]]
    keys = [FOUND[data]["retrieval"][name]["seeds"] for data in FOUND_IN if name in FOUND[data]["retrieval"]]
    cells.append(", ".join(map(str, dict.fromkeys(keys))))
    assert " ".join(f"| {' | '.join(cells)} |".split()) in PAGE


def test_the_words() -> None:
    made, emoji = FOUND["cifar10"]["generator"]["t2ue"], FOUND["emoji"]
    assert f"{made['pictures']:,.0f} captioned pictures" in PAGE
    assert f"({made['cpu_seconds']:.0f} s of CPU time)" in PAGE
    assert f"protected {emoji['retrieval']['clean']['pictures']:,.0f}" in PAGE
    for kind, number in (("supervised", "accuracy"), ("retrieval", "i2t_hit10")):
        rows = {name: one[number] for name, one in FOUND["cifar10"][kind].items()}
        assert 0.45 < 1 - rows["t2ue"] / rows["clean"] < 0.55
        assert rows["random per picture"] > 0.98 * rows["clean"]
    hits = {name: one["i2t_hit10"] for name, one in emoji["retrieval"].items()}
    assert round(1 / (1 - hits["t2ue"] / hits["clean"])) == 6
    assert hits["t2ue"] < hits["em"]


def test_the_words_on_the_default_surrogate() -> None:
    losses = [
        f"{FOUND[data]['generator'][name]['loss']:.2f}"
        for name in ("t2ue aligned", "t2ue")
        for data in ("cifar10", "emoji")
    ]
    assert "ends at {} and {}, against `tiny` at {} and {}.".format(*losses) in PAGE
    assert f"({FOUND['cifar10']['generator']['t2ue aligned']['cpu_seconds']:.0f} s of CPU time on" in PAGE
    assert GeneratorConfig().surrogate == "aligned"
    for kind, number in (("supervised", "accuracy"), ("retrieval", "i2t_hit10")):
        rows = {name: one[number] for name, one in FOUND["cifar10"][kind].items()}
        assert 0.3 < 1 - rows["t2ue aligned"] / rows["clean"] < 0.37
        assert rows["t2ue"] < rows["t2ue aligned"]
    hits = {name: one["i2t_hit10"] for name, one in FOUND["emoji"]["retrieval"].items()}
    assert 0 < hits["random per picture"] - hits["t2ue aligned"] < 0.02


def test_what_countermeasures_give_back():
    rows = json.loads((ROOT / "benchmarks/results/leaderboard.json").read_text())["settings"]["t2ue"]["rows"]
    names = ("crop+flip", "rsk+ff", "coin", "grayscale", "op", "jpeg-10", "adversarial", "leak-1-pair")
    assert all(len(rows[name]["values"]) == 3 for name in names)
    words = (
        "it leaves {:.1f} % after crop and flip, {:.1f} after RSK+FF and {:.1f} after COIN, but greyscale "
        "gives {:.1f} % back, orthogonal projection {:.1f}, JPEG 10 {:.1f}, adversarial training {:.1f} and "
        "one leaked pair per class {:.1f}"
    )
    assert words.format(*(100 * rows[name]["value"] for name in names)) in " ".join(PAGE.split())
