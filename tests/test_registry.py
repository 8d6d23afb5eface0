"""The table of methods: names without imports, did-you-mean, plug-ins good and bad."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli import registry
from noli.core.errors import MissingPrerequisite, UsageError
from noli.core.method import Spec
from noli.methods import protect


class Point(SimpleNamespace):
    """An entry point as importlib.metadata gives it."""


def points(monkeypatch: pytest.MonkeyPatch, *lines: tuple[str, str, str]) -> None:
    made = [Point(name=n, value=v, dist=SimpleNamespace(name=d, version="1.0")) for n, v, d in lines]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: made)


def module_file(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_names_are_sorted_and_filtered_by_family(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("acme/tint", "acme.tint", "acme"))
    assert registry.names() == tuple(sorted({*registry.TABLE, "acme/tint"}))
    own = ("ar", "cuda", "em", "lsp", "ops", "rem", "salm", "sem", "t2ue", "tap", "uc", "weave")
    assert registry.names("protect") == tuple(f"protect/{name}" for name in own)
    assert all(hasattr(protect, name) for name in own)


def test_every_own_entry_loads_and_names_itself() -> None:
    for name, line in registry.TABLE.items():
        spec = registry.get(name)
        assert isinstance(spec, Spec)
        assert (spec.name, spec.module) == (name, line.module)
        assert name.split("/")[0] == spec.family
        assert registry.module(name).SPEC.name == name
        assert line.summary
        assert not line.summary.endswith(".")


def test_unknown_names_get_the_nearest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch)
    for wrong, right in (
        ("protect/cudda", "protect/cuda"),
        ("cuda", "protect/cuda"),
        ("Verify/Learn", "verify/l"),
    ):
        with pytest.raises(UsageError) as caught:
            registry.get(wrong)
        assert right in (caught.value.fix or "")
        assert caught.value.where == wrong
    with pytest.raises(UsageError) as caught:
        registry.names("protekt")
    assert caught.value.fix == "did you mean protect?"


def test_a_good_plugin_is_listed_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("acme/tint", "module_that_does_not_exist", "acme"))
    assert "acme/tint" in registry.names()
    assert registry.entry("acme/tint").package == "acme"
    with pytest.raises(MissingPrerequisite) as caught:
        registry.get("acme/tint")
    assert "module_that_does_not_exist" in (caught.value.why or "")
    assert "pip install --upgrade acme" in (caught.value.fix or "")


@pytest.mark.parametrize("name", ["tint", "/tint", "acme/", "a/b/c", " acme/tint", "protect/mine", "mark/x"])
def test_badly_named_plugins_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    points(monkeypatch, (name, "acme.tint", "acme"), ("acme/fine", "acme.fine", "acme"))
    good, bad = registry.plugins()
    assert list(good) == ["acme/fine"]
    assert list(bad) == [name]
    assert name not in registry.names()
    with pytest.raises(UsageError) as caught:
        registry.entry(name)
    assert "acme" in (caught.value.where or "")
    assert "rename the entry point" in (caught.value.fix or "")


def test_two_packages_with_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("acme/tint", "a.tint", "acme"), ("acme/tint", "b.tint", "other"))
    assert "acme/tint" not in registry.names()
    with pytest.raises(UsageError, match="acme, other"):
        registry.get("acme/tint")


def test_one_package_seen_twice_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("acme/tint", "a.tint", "acme"), ("acme/tint", "a.tint", "acme"))
    assert "acme/tint" in registry.names()


def test_a_plugin_cannot_replace_an_own_method(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("protect/cuda", "evil.cuda", "evil"))
    assert registry.entry("protect/cuda").module == "noli.methods.protect.cuda"


def test_a_module_without_the_right_spec_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module_file(tmp_path, "plug_nospec", "X = 1\n", monkeypatch)
    module_file(
        tmp_path, "plug_other", "from types import SimpleNamespace as S\nSPEC = S(name='z/z')\n", monkeypatch
    )
    points(monkeypatch, ("acme/none", "plug_nospec", "acme"), ("acme/other", "plug_other", "acme"))
    with pytest.raises(UsageError, match="SPEC is missing"):
        registry.get("acme/none")
    with pytest.raises(UsageError, match="'z/z'"):
        registry.get("acme/other")


def test_real_entry_point_objects_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [EntryPoint(name="acme/tint", value="acme.tint", group=registry.GROUP)]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: made)
    assert registry.plugins()[0]["acme/tint"].module == "acme.tint"


@given(st.text(max_size=12), st.lists(st.text(min_size=1, max_size=12), max_size=6))
def test_did_you_mean_only_ever_offers_what_exists(name: str, known: list[str]) -> None:
    hint = registry.did_you_mean(name, known)
    assert hint
    if known:
        assert any(choice in hint for choice in known)
    else:
        assert hint == "there is nothing to choose from"
