"""The figures of docs/learned-attacks.md are those of the benchmark's file."""

from __future__ import annotations

import json

import pytest
from pages import DOCS, ROOT

CELLS = json.loads((ROOT / "benchmarks" / "results" / "learned_audits.json").read_bytes())["cells"]
TEXT = " ".join((DOCS / "learned-attacks.md").read_text().split())
SCHEMES = ("etc, 16", "etc, 8", "etc, 4", "le, 4", "ele, 4", "pixel")
ALONE = ("nothing more", "pictures like these")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def triple(attributes: dict[str, dict[str, float]]) -> str:
    shares = [percent(attributes[name]["value"]) for name in ("skin", "hair", "background")]
    return " · ".join(one.removesuffix(" %") for one in shares) + " %"


def row(scheme: str) -> str:
    """What attacks without any plain picture of the owner's find under fresh keys."""
    rows = CELLS[scheme]["rows"]
    classical = CELLS[f"classical, {scheme}"]["rows"]["fresh"]["rows"].values()
    back = [one["back"] for one in classical if one["has"] in ALONE]
    found, style = rows["fresh/embedding"]["top1"], rows["fresh/style encoder"]
    cells = [
        percent(max(back)) if back else "none with fresh keys",
        percent(rows["fresh/block statistics"]["top1"]["value"]),
        f"{percent(found['value'])} ({percent(found['low']).removesuffix(' %')} to {percent(found['high'])})",
        percent(style["top1"]["value"]),
        triple(style["attributes"]),
        percent(rows["orl, fresh/style encoder"]["person"]["value"]),
    ]
    name, block = [*scheme.split(", "), ""][:2]
    return f"| `{name}`{', blocks of ' * bool(block)}{block} | {' | '.join(cells)} |"


def bound(name: str, said: str) -> str:
    """The same without scrambling, or without any picture."""
    rows = CELLS["bounds"]["rows"]
    seen, person = rows[f"synthetic/{name}"], rows[f"orl/{name}"]["person"]["value"]
    found = percent(seen["top1"]["value"])
    return f"| {said} | | | | {found} | {triple(seen['attributes'])} | {percent(person)} |"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes(scheme: str) -> None:
    assert row(scheme) in TEXT


@pytest.mark.parametrize(
    ("name", "said"),
    [("mean face", "*mean face*"), ("generator, plain encoder", "*plain pictures, same generator*")],
)
def test_bounds(name: str, said: str) -> None:
    assert bound(name, said) in TEXT


def test_what_the_page_concludes() -> None:
    chance = CELLS["etc, 4"]["rows"]["fresh/embedding"]["top1"]["chance"]
    for scheme in ("etc, 4", "ele, 4"):
        # Classical attacks bring back nothing, or there are none.
        assert CELLS[f"classical, {scheme}"]["rows"]["fresh"]["least"] is None
        assert CELLS[scheme]["rows"]["fresh/embedding"]["top1"]["low"] >= 10 * chance
    assert all(CELLS[one]["rows"]["fresh/block statistics"]["top1"]["value"] == 1 for one in SCHEMES)


def test_classical_attacks_miss_ele_with_a_fresh_key_for_every_picture_only() -> None:
    schemes = json.loads((ROOT / "benchmarks" / "results" / "audits.json").read_bytes())["schemes"]
    assert not schemes["ele, 4, fresh"]["rows"]
    assert not CELLS["classical, ele, 4"]["rows"]["fresh"]["rows"]
    back = {
        one["pictures"]: one["back"]
        for name, scheme in schemes.items()
        for attack, one in scheme["rows"].items()
        if name.startswith("ele, 4") and attack == "statistics"
    }
    assert (back[200], back[50], back[25]) == (1, 0, 0)
    told = f"statistics bring back all of 200 pictures, {100 * back[100]:.0f} % of 100, none of 50"
    assert f"Under one key for all, classical attacks do not miss `ele`: {told}" in TEXT


def test_how_somebody_looks() -> None:
    for scheme in SCHEMES:
        shares = CELLS[scheme]["rows"]["fresh/style encoder"]["attributes"]
        assert all(shares[name]["low"] > shares[name]["chance"] for name in ("skin", "hair", "background"))
    near = CELLS["etc, 8"]["rows"]["fresh/block statistics"]["attributes"]
    assert f"statistics alone has {triple(near)} of them right" in TEXT
    seconds = [CELLS[scheme]["learned"]["cpu_seconds"] for scheme in SCHEMES]
    assert f"{min(seconds):.0f} to {max(seconds):.0f} seconds a scheme" in TEXT


def test_people() -> None:
    rows = CELLS["etc, 8"]["rows"]
    said = rows["orl, fresh/block statistics"]["person, said"]["value"]
    light = CELLS["bounds"]["rows"]["orl/brightness alone"]["person, said"]["value"]
    assert f"{percent(said)} of the pictures" in TEXT
    assert f"alone gives {percent(light)}" in TEXT
    styles, guided = (
        [CELLS[scheme]["rows"][f"orl, fresh/{name}"]["person"]["value"] for scheme in SCHEMES]
        for name in ("style encoder", "guided styles")
    )
    least, most = (percent(one).removesuffix(" %") for one in (min(styles), max(styles)))
    assert f"{least} to {most} % by the style encoder" in TEXT
    assert f"{percent(max(*styles, *guided))} at most (guided styles, `etc` with blocks of 16)" in TEXT
    assert max(guided) == CELLS["etc, 16"]["rows"]["orl, fresh/guided styles"]["person"]["value"]


def test_ways_to_learn() -> None:
    for scheme in ("etc, 8",):
        ours, theirs = CELLS[scheme]["rows"], CELLS[f"{scheme}, patches"]["rows"]
        pair = [one["fresh/embedding"]["top1"]["value"] for one in (ours, theirs)]
        assert f"{percent(pair[0])} with invariants, {percent(pair[1])} with patches" in TEXT
    net = CELLS["u-net, etc, 8"]["rows"]["synthetic"]
    assert f"a U-Net without any generator shows {percent(net['top1']['value'])} so" in TEXT
    pixel = [
        CELLS["u-net, pixel"]["rows"]["synthetic"]["top1"]["value"],
        CELLS["pixel"]["rows"]["fresh/style encoder"]["top1"]["value"],
    ]
    assert f"as well: {percent(pixel[0])} and {percent(pixel[1])}" in TEXT
    drawn, styled = (
        CELLS["etc, 8"]["rows"][f"fresh/{name}"] for name in ("guided diffusion", "style encoder")
    )
    assert f"(SSIM {drawn['ssim']:.2f} and {styled['ssim']:.2f}, `etc`, blocks of 8)" in TEXT
    assert f"guided diffusion, {percent(drawn['shown top1']['value'])} of 100" in TEXT
