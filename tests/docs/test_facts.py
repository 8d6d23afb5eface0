"""What the pages say about formats, rows and options is what the code has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pages import DOCS, ROOT, generator

import noli
from noli.core.keyfile import Entry, Ring, Wrapped
from noli.core.manifest import Manifest
from noli.methods.protect import cuda
from noli.methods.verify.battery import table
from noli.methods.verify.config import Config
from noli.ops import classfilters

ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
THREATS = (DOCS / "threat-model.md").read_text("utf-8")
WRITTEN = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
# Without the pages that `make docs` may have left there.
PAGES = [*(page for page in sorted(DOCS.glob("*.md")) if page.name not in generator().pages()), *WRITTEN]


@pytest.mark.parametrize("model", [Manifest, Ring, Entry, Wrapped])
def test_formats_are_described_completely(model: type) -> None:
    fields = model.model_fields  # type: ignore[attr-defined]
    missing = [name for name in fields if f"`{name}`" not in ARCHITECTURE]
    assert not missing


def test_every_row_of_the_battery_is_placed_at_its_level() -> None:
    lines = [line for line in THREATS.splitlines() if line.startswith("|")]
    for row in table(Config(battery="full")):
        if row.level == "context":
            assert f"`{row.name.split('-')[0]}-…`" in THREATS
        else:
            line = next(line for line in lines if line.startswith(f"| {row.level} "))
            smaller, _, full = line.partition("in the full battery also")
            assert f"`{row.name}`" in (full if row.battery == "full" else smaller)


def test_what_the_quick_battery_lacks_is_said() -> None:
    names = [
        {r.name for r in table(Config(battery=b)) if r.level != "context"} for b in ("standard", "quick")
    ]
    assert names[0] - names[1] == {"jpeg-30", "jpeg-75", "test-time"}


def test_the_derivation_names_the_purposes_in_use() -> None:
    source = Path(classfilters.__file__).read_text("utf-8")
    used = set(re.findall(r'stream\(f?"([^"]+)"', source))
    assert used
    for purpose in used:
        named = purpose.replace("{purpose}", cuda.SPEC.name).replace("{draw}", "<draw>")
        assert f"`{named}`" in ARCHITECTURE


def test_the_thresholds_in_the_quick_start_are_the_defaults() -> None:
    text = " ".join((DOCS / "quickstart-dataset-owner.md").read_text("utf-8").split())
    cfg = Config()
    assert f"Fewer than {cfg.min_test} held-out pictures, fewer than {cfg.min_per_class} per class" in text
    assert f"(`--claim`, default `{cfg.claim}`)" in text


def test_layers_are_those_of_the_import_linter() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["type"] == "layers")
    for name in re.findall(r"noli\.(\w+)", " ".join(layers)):
        assert re.search(rf"`{name}(/|\.py)`", ARCHITECTURE), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    made = generator().pages()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        # Generated pages are not in the repository: a link to them is dead for its readers.
        assert target not in made, target
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_short(page: Path) -> None:
    # Three to five minutes of reading; code is skimmed.
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) <= 1400


def test_the_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.strip().startswith("Apache License\n")
    assert [f"\n   {n}. " in text for n in range(1, 10)] == [True] * 9
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text) == 11358


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"] == noli.__version__
    assert citation["license"] == project["license"]
    assert f"## [{noli.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
