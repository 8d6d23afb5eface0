"""The generated pages: every registry entry, every option, every measurement, nothing left out silently."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pages import ROOT, generator

from noli import options, registry

generate = generator()


@pytest.mark.parametrize("name", sorted(registry.TABLE))
def test_a_method_page_holds_card_options_and_citation(name: str) -> None:
    spec = registry.get(name)
    page = generate.method_page(name)
    assert page.startswith(f"# {name}\n")
    for text in (spec.card.title, spec.card.paper, *spec.card.stops, *spec.card.does_not_stop):
        assert text in page
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert list(rows) == list(spec.config.model_fields)
    for field, info in spec.config.model_fields.items():
        default = options.show(info.get_default(call_default_factory=True, validated_data={}))
        assert f"| `{default}` |" in rows[field]
        assert generate._plain(options.meaning(spec.config, field)).replace("|", "\\|") in rows[field]
    assert ("```bibtex" in page) == bool(spec.card.bibtex)
    assert "``" not in page.replace("```", ""), "reStructuredText must not show through"


def test_a_method_page_has_the_figures_of_its_own_settings(tmp_path: Path) -> None:
    assert "## Measured" not in generate.method_page("protect/em", tmp_path)
    row = {"value": 0.4, "low": 0.3, "high": 0.5, "values": [0.4], "level": "naive"}
    found = {"rows": {"plain": row}, "worst": "plain"}
    names = ("clean", "em", "em class-wise", "sem", "uc, generator")
    (tmp_path / "leaderboard.json").write_text(json.dumps({"settings": dict.fromkeys(names, found)}))
    alone = {"settings": {"lsp": found}}  # clean images were not measured yet
    (tmp_path / "other").mkdir()
    (tmp_path / "other/leaderboard.json").write_text(json.dumps(alone))
    assert "<tr><th>lsp</th>" in generate.method_page("protect/lsp", tmp_path / "other")
    shown = {"em": ["clean", "em", "em class-wise"], "uc": ["clean", "uc, generator"], "rem": []}
    for method, settings in shown.items():
        lines = generate.method_page(f"protect/{method}", tmp_path).splitlines()
        rows = [line for line in lines if line.startswith("<tr><th>") and "<td" in line]
        assert [line.split("</th>")[0].removeprefix("<tr><th>") for line in rows] == settings


def test_ranges_and_flags_are_in_the_table() -> None:
    page = generate.method_page("protect/cuda")
    jitter = next(line for line in page.splitlines() if line.startswith("| `jitter`"))
    assert "| `jitter` | yes |" in jitter
    assert "| number, ≥ 0, ≤ 4 |" in jitter
    mode = next(line for line in page.splitlines() if line.startswith("| `mode`"))
    assert "| keyed or paper |" in mode
    separation = next(line for line in page.splitlines() if line.startswith("| `separation`"))
    assert "| `separation` |  |" in separation


def test_flags_of_verify_are_those_of_the_command() -> None:
    flags = generate.own_flags(registry.get("verify/learnability"))
    assert {"battery", "claim", "seeds"} <= flags
    assert "epochs" not in flags


def test_all_pages_are_written_once_and_stale_ones_go(tmp_path: Path) -> None:
    made = generate.pages(tmp_path / "no results")
    assert len(made) == len(registry.TABLE) + 4
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/gone.md").write_text("a method that is no more")
    generate.write(tmp_path, made)
    assert {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*.md")} == set(made)
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.md")}
    generate.write(tmp_path, made)
    assert before == {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.md")}
    for name in registry.TABLE:
        assert f"]({generate.page_name(name)})" in made["methods/index.md"]


def test_the_navigation_gets_every_method() -> None:
    class Loader(yaml.SafeLoader):
        """Knows mkdocs' own tags well enough to read the navigation."""

    nav = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]  # noqa: S506 - a safe loader
    config = generate.on_config(SimpleNamespace(nav=nav))
    methods = next(entry["Methods"] for entry in config.nav if "Methods" in entry)
    assert methods[0] == "methods/index.md"
    assert [next(iter(entry)) for entry in methods[1:]] == sorted(registry.TABLE)


def test_measurements_are_copied(tmp_path: Path) -> None:
    keys = {"machine": {"cpu": "Abacus"}, "clean": 0.6782, "paper": {"mean": 0.31, "worst": 0.38}}
    for name, body in (("keys", keys), ("odd", {"answer": 42})):
        (tmp_path / f"{name}.json").write_text(json.dumps(body))
    page = generate.figures.benchmarks_page(tmp_path)
    copied = [yaml.safe_load(part.split("```")[0]) for part in page.split("```yaml")[1:]]
    assert copied == [keys, {"answer": 42}]
    assert page.index("## `keys`") < page.index("## `odd`")
    assert "Nothing was measured" in generate.figures.benchmarks_page(tmp_path / "none")


def test_bars_do_not_break_tables() -> None:
    assert generate.figures.table(("a",), [("x|y\nz",)]).splitlines()[-1] == "| x\\|y z |"


def test_the_leaderboard_colours_what_was_measured_and_leaves_the_rest_empty(tmp_path: Path) -> None:
    assert "Nothing was measured" in generate.figures.leaderboard_page(tmp_path)

    def row(value: float, level: str = "naive") -> dict[str, object]:
        return {"value": value, "low": value - 0.02, "high": value + 0.02, "values": [value], "level": level}

    settings = {
        "a": {"rows": {"coin": row(0.45, "adaptive")}, "worst": "coin"},
        "clean": {"rows": {"coin": row(0.6, "adaptive"), "plain": row(0.8)}, "worst": "plain"},
        "mine": {
            "rows": {"plain": row(0.2), "merged": row(0.9, "context")},
            "worst": "plain",
            "psnr": 30.04,
            "cpu_seconds": 12.0,
        },
    }
    (tmp_path / "leaderboard.json").write_text(json.dumps({"settings": settings}))
    page = generate.figures.leaderboard_page(tmp_path)
    lines = {
        line.split("</th>")[0].removeprefix("<tr><th>"): line for line in page.splitlines() if "<td" in line
    }
    assert [name for name in lines if name in settings] == ["clean", "a", "mine"]
    names = [part.split("</span>")[0] for part in page.split("<th><span>")[1:]]
    assert names == ["", "worst", "rows", "PSNR", "CPU s", "plain", "coin", "merged"]
    spans = "".join(f'<th colspan="1">{level}</th>' for level in ("naive", "adaptive", "context"))
    assert f'<tr><th></th><th colspan="4"></th>{spans}</tr>' in page
    assert lines["clean"].count("hsl(0 60% 80%)") == 2
    assert "hsl(30 60% 80%)" in lines["a"]
    assert "hsl(90 60% 80%)" in lines["mine"]
    assert 'title="18.0 to 22.0 %, seeds: 1">20.0<small>±2.0</small></td><td></td>' in lines["mine"]
    assert "</th><td><b>20.0</b></td><td>1</td><td>30.0</td><td>12.0</td>" in lines["mine"]
    assert "</th><td><b>80.0</b></td><td>2</td><td></td><td></td>" in lines["clean"]


def test_published_signs_stand_beside_ours(tmp_path: Path) -> None:
    assert generate.figures.signs_table(tmp_path) == ""
    line = {"setting": "em", "row": "op", "expected": "falls", "source": "paper", "seeds": 3}
    signs = [
        line | {"found": "holds", "share": 0.25},
        line | {"found": "falls", "share": 0.9},
        line | {"found": "not measured", "share": None},
    ]
    (tmp_path / "signs.json").write_text(json.dumps({"signs": signs, "agree": 1, "measured": 2}))
    page = generate.figures.signs_table(tmp_path)
    assert "1 of 2 measured signs agree, 3 are expected" in " ".join(page.split())
    assert "| em | op | falls | **holds** (0.25, seeds: 3) | paper |" in page
    assert "| em | op | falls | falls (0.90, seeds: 3) | paper |" in page
    assert "| em | op | falls | not measured | paper |" in page


def test_the_medical_page_shows_what_was_measured_and_which_signs_were_not_found(tmp_path: Path) -> None:
    assert "Nothing was measured" in generate.figures.medical_page(tmp_path)
    row = {"value": 0.8, "low": 0.75, "high": 0.85, "values": [0.8], "auc": 0.9101,
           "level": "naive"}  # fmt: skip
    reader = {"auc_clean": 0.95, "auc": 0.93, "difference": -0.02, "low": -0.03, "high": 0.001,
              "auc_other_labels": 0.4, "seeds": 2}  # fmt: skip
    masked = {"rows": {"plain": row | {"value": 0.6}}, "worst": "plain", "reader": reader, "touched": 0.25}
    signs = [{"sign": "less is learned", "found": "60 % after 80 %", "holds": True},
             {"sign": "made faster", "found": "9 s beside 8 s", "holds": False}]  # fmt: skip
    settings = {"clean": {"rows": {"plain": row, "coin": row}, "worst": "plain"}, "salm": masked}
    body = {"sets": {"chest": {"settings": settings, "signs": signs}}}
    (tmp_path / "medical.json").write_text(json.dumps(body))
    page = generate.figures.medical_page(tmp_path)
    assert "## chest" in page
    assert "| clean | 0.910 | 0.910 |" in page
    assert "| salm | 0.910 |  |" in page
    assert "| salm | 0.930 | -0.020 | -0.030 to +0.001 | 0.400 | 2 |" in page
    assert "| less is learned | 60 % after 80 % | yes |" in page
    assert "| made faster | 9 s beside 8 s | **no** |" in page
    line = next(line for line in page.splitlines() if line.startswith("<tr><th>salm"))
    assert "<td><b>60.0</b></td><td>1</td>" in line
    assert line.endswith(">60.0<small>±5.0</small></td><td></td></tr>")
    assert "<td>0.250</td>" in line
