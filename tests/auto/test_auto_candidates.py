"""The table of candidates: complete, valid, and found by name."""

from __future__ import annotations

import pytest

from noli import options, registry
from noli.core.errors import UsageError
from noli.engine.auto.asked import ROWS
from noli.engine.auto.candidates import TABLE, Candidate, wanted
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures import find


def test_every_method_that_protects_is_tried_with_its_defaults() -> None:
    plain = {candidate.method for candidate in TABLE if not candidate.options}
    assert plain == set(registry.names("protect"))
    assert len({candidate.name for candidate in TABLE}) == len(TABLE)


@pytest.mark.parametrize("candidate", TABLE, ids=lambda candidate: candidate.name)
def test_options_are_valid_and_learning_is_made_cheap(candidate: Candidate) -> None:
    spec = registry.get(candidate.method)
    options.resolve(spec, {**candidate.options, **candidate.trial})
    learns = "network" in spec.config.model_fields
    assert learns == bool(candidate.trial)
    assert not learns or candidate.trial["network"] == "tiny"
    assert not set(candidate.options) & set(candidate.trial)


def test_names_are_found_and_cheap_ones_come_first_whatever_the_order() -> None:
    assert wanted() == TABLE
    assert [c.name for c in wanted(("ops", "cuda", "ops"))] == ["cuda", "ops"]
    em = wanted(("protect/em",))[0]
    assert em == next(candidate for candidate in TABLE if candidate.name == "em")


@pytest.mark.parametrize(
    ("name", "says"), [("cudda", "did you mean cuda"), ("verify/learnability", "does not protect")]
)
def test_other_names_are_refused(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wanted((name,))


def test_plugins_are_tried_when_they_are_named(plugin: str) -> None:
    assert wanted((plugin,))[0].method == plugin


def test_the_rows_cover_all_levels_and_begin_with_the_reference() -> None:
    levels = {find(name, Config()).level for name in ROWS}
    assert (ROWS[0], levels) == ("crop+flip", {"naive", "routine", "adaptive"})
