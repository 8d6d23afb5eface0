"""noli list, explain and doctor."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from noli import registry
from noli.api import _doctor

Run = Callable[..., Any]


def test_list_shows_every_method_with_its_summary(noli: Run) -> None:
    done = noli("list")
    for name, line in registry.TABLE.items():
        assert any(row.startswith(name) and line.summary in row for row in done.out.splitlines())
    assert "noli explain" in done.err
    found = noli("list", "protect", "--json").json["methods"]
    assert [method["name"] for method in found] == list(registry.names("protect"))
    assert noli("list", "protec").code == 2
    assert "choose from: attack, lock, mark, protect, verify" in noli("list", "heal").err


def test_list_names_refused_plugins_and_goes_on(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    point = SimpleNamespace(name="nameless", value="x", dist=SimpleNamespace(name="acme", version="1"))
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: [point])
    done = noli("list")
    assert done.code == 0
    assert "badly named" in done.err
    assert "protect/cuda" in done.out


@pytest.mark.parametrize("name", sorted(registry.TABLE))
def test_explain_shows_card_and_every_option(noli: Run, name: str) -> None:
    spec = registry.get(name)
    text = noli("explain", name).out
    for line in (*spec.card.stops, *spec.card.does_not_stop):
        assert line.split()[0] in text
    document = noli("explain", name, "--json").json
    assert [option["name"] for option in document["options"]] == list(spec.config.model_fields)
    assert all(option["type"] and option["default"] for option in document["options"])
    for option in document["options"]:
        assert option["name"].replace("_", "-") in text.replace("_", "-")


def test_explain_unknown(noli: Run) -> None:
    done = noli("explain", "protect/cudda")
    assert done.code == 2
    assert "did you mean protect/cuda?" in done.err
    assert noli("explain", "cuda").out == noli("explain", "protect/cuda").out
    assert "noli protect auto --help" in noli("explain", "auto").err
    for family in ("attack", *registry.FAMILIES):
        assert f"`noli list {family}`" in noli("explain", family).err


def test_no_markup_shows_through(noli: Run) -> None:
    for name in registry.TABLE:
        assert "``" not in noli("explain", name).out
    assert "``" not in noli("protect", "cuda", "--help-all").out


def test_doctor_is_content_with_the_test_machine(noli: Run) -> None:
    done = noli("doctor", "--json")
    names = {check["name"]: check for check in done.json["checks"]}
    assert done.code == 0, done.out
    assert {"python", "packages", "torch", "processor", "output folder", "temporary folder"} <= set(names)
    assert all(check["fix"] for check in names.values() if check["status"] != "ok")


def test_doctor_exits_3_with_the_line_to_install(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_doctor.BASE, "no_such_module_here", "no-such-dist")
    monkeypatch.setattr(_doctor, "_python_says", lambda code: (True, "2.13.0+cpu, CPU only"))
    done = noli("doctor")
    assert done.code == 3
    assert "pip install no-such-dist" in done.out
    assert "FAIL" in done.out
