"""The path language against a slow reference, and its messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.adapters.jsonpath import NotThere, find, parse
from noli.core.errors import UsageError

NAMES = st.sampled_from(["a", "b", "top-1", "odd.name", "x y", "7", "", "é", "[0]"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
STEPS = st.lists(NAMES | st.integers(0, 3) | st.none(), max_size=5)


def written(steps: list[Any]) -> str:
    """Write steps in the path language, plain names without brackets where that is possible."""
    text = ""
    for step in steps:
        if isinstance(step, str):
            plain = step and not set(step) & set('.[]"')
            text += (f".{step}" if text else step) if plain else f'["{step}"]'
        else:
            text += "[*]" if step is None else f"[{step}]"
    return text


def slow(document: Any, steps: list[Any]) -> list[Any] | None:
    """All values that the steps reach, one wave per step; None when one of them leads nowhere."""
    wave = [document]
    for step in steps:
        following: list[Any] = []
        for value in wave:
            if isinstance(step, str):
                if type(value) is not dict or step not in value:
                    return None
                following.append(value[step])
            elif type(value) is not list or (step is not None and step >= len(value)):
                return None
            else:
                following += value if step is None else [value[step]]
        wave = following
    return wave


@given(DOCUMENTS, STEPS)
@settings(max_examples=400, deadline=None)
def test_it_finds_what_the_slow_reference_finds(document: Any, steps: list[Any]) -> None:
    path = written(steps)
    assert parse(path) == tuple(steps)
    expected = slow(document, steps)
    if expected is None:
        with pytest.raises(NotThere):
            find(document, path)
    else:
        assert find(document, path) == (expected if None in steps else expected[0])


@given(DOCUMENTS, st.data())
@settings(max_examples=200, deadline=None)
def test_paths_that_lead_somewhere(document: Any, data: st.DataObject) -> None:
    steps: list[Any] = []
    value = document
    while isinstance(value, list | dict) and value and data.draw(st.booleans()):
        choices = list(value) if isinstance(value, dict) else list(range(len(value)))
        steps.append(data.draw(st.sampled_from(choices)))
        value = value[steps[-1]]
    assert find(document, written(steps)) == value


@pytest.mark.parametrize(
    "path", [".a", "a.", "a..b", "a[", "a[-1]", "a[x]", "a]", 'a["b', "a.[0]", "[0]a", "a[1.5]", 'b"']
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="not a path") as caught:
        parse(path)
    assert "choices[0].text" in str(caught.value.fix)


DOCUMENT = {"predictions": [{"label": "cat", "score": 0.5}, {"label": "dog"}], "names": [["a"], ["b", "c"]]}


def test_examples() -> None:
    assert find(DOCUMENT, "predictions[*].label") == ["cat", "dog"]
    assert find(DOCUMENT, "names[*][*]") == ["a", "b", "c"]
    assert find(DOCUMENT, "names[1]") == ["b", "c"]
    assert find([7], "") == [7]
    assert find({"odd.name": {"x": 1}}, '["odd.name"].x') == 1


@pytest.mark.parametrize(
    ("path", "where", "words"),
    [
        ("prediction", "the top", ("there is no 'prediction'", "did you mean predictions?")),
        ("predictions.label", "predictions", ("a list of 2", "[brackets]")),
        ("predictions[2]", "predictions", ("element [2] of a list of 2", "from 0")),
        ("predictions[*].score", "predictions[1]", ("there is no 'score'", "label")),
        ("predictions[0].label.x", "predictions[0].label", ("'x' is looked for in a text",)),
        ("predictions[0][0]", "predictions[0]", ("an object", "leave out")),
    ],
)
def test_messages_say_how_far_the_path_leads(path: str, where: str, words: tuple[str, ...]) -> None:
    with pytest.raises(NotThere) as caught:
        find(DOCUMENT, path)
    assert caught.value.where == where
    assert all(word in str(caught.value) for word in words)
