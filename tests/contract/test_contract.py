"""Every registry entry keeps the contract; so does a plug-in, and a broken method is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noli import registry
from noli.testing import _DATA as DATA_CHECKS
from noli.testing import Check, ContractError, checks, documentation_is_complete

CASES = [(name, check) for name in sorted(registry.TABLE) for check in checks(name)]


@pytest.mark.parametrize(("name", "check"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_own_methods(name: str, check: Check, tmp_path: Path) -> None:
    check(name, tmp_path)


def test_a_plugin_gets_the_suite_for_free(plugin: str, tmp_path: Path) -> None:
    assert len(checks(plugin)) == len(DATA_CHECKS) + 3
    for check in checks(plugin):
        place = tmp_path / check.__name__
        place.mkdir()
        check(plugin, place)


# What each check must notice: a way to break the example plug-in, and the promise that is broken.
def brighter_than_one(module: Any) -> Any:
    return lambda state, batch, items, key, cfg: batch * 2


def changes_its_input(module: Any) -> Any:
    def apply(state: Any, batch: Any, items: Any, key: Any, cfg: Any) -> Any:
        batch *= 0.5
        return batch.copy()

    return apply


def over_budget(module: Any) -> Any:
    return lambda state, batch, items, key, cfg: np.clip(batch + 0.2, 0, 1).astype(np.float32)


def ignores_the_key(module: Any) -> Any:
    return lambda state, batch, items, key, cfg: batch.copy()


def looks_at_the_batch(module: Any) -> Any:
    return lambda state, batch, items, key, cfg: (batch + batch.mean()) / 2


def draws_globally(module: Any) -> Any:
    inner = module.apply

    def apply(*args: Any) -> Any:
        np.random.random()
        return inner(*args)

    return apply


def makes_squares(module: Any) -> Any:
    return lambda state, batch, items, key, cfg: batch[:, :, : batch.shape[3]].copy()


@pytest.mark.parametrize(
    ("breakage", "check", "promise"),
    [
        (brighter_than_one, "shape_type_and_range_hold", "finite and lie in"),
        (changes_its_input, "shape_type_and_range_hold", "input is not modified"),
        (over_budget, "shape_type_and_range_hold", "within eps"),
        (makes_squares, "shape_type_and_range_hold", "shape is kept"),
        (ignores_the_key, "keys_decide_the_bytes", "another key"),
        (looks_at_the_batch, "batches_do_not_matter", "batch size"),
        (draws_globally, "global_state_is_left_alone", "NumPy generator"),
        (ignores_the_key, "undo_comes_closer_to_the_original", "undo"),
    ],
)
def test_broken_methods_are_caught(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breakage: Any, check: str, promise: str
) -> None:
    module = registry.module(plugin)
    monkeypatch.setattr(module, "apply", breakage(module))
    found = next(one for one in checks(plugin) if one.__name__ == check)
    with pytest.raises(Exception, match=promise) as caught:
        found(plugin, tmp_path)
    assert isinstance(caught.value, ContractError) or "0, 1" in str(caught.value)


def test_undocumented_methods_are_caught(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.module(plugin), "__doc__", "Does something.")
    with pytest.raises(ContractError, match="speaks of its paper"):
        documentation_is_complete(plugin, tmp_path)
