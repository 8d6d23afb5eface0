"""JSON of strangers: the same as json.loads reads, and nothing that is nested deeply."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.core.foreign import DEEPEST, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


@given(VALUES, st.booleans())
def test_documents_are_read_as_ever(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    assert loads(text) == value
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert loads(text.encode(encoding, "surrogatepass")) == value


@given(st.text('[]{}",:\\a1 \n', max_size=60))
def test_what_is_no_json_stays_none(text: str) -> None:
    try:
        wanted = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - json's own words
            loads(text)
    else:
        assert loads(text) == wanted


@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_the_bound_is_exact(pair: str) -> None:
    before = '{"a":' if pair == "{}" else "["

    def nested(depth: int) -> str:
        return before * depth + "1" + pair[1] * depth

    loads(nested(DEEPEST))
    with pytest.raises(ValueError, match="too deeply"):
        loads(nested(DEEPEST + 1))


def test_brackets_in_strings_nest_nothing() -> None:
    text = json.dumps("[" * 10_000 + '"{\\')
    assert loads(text) == json.loads(text)


def test_options_are_handed_on() -> None:
    assert loads("[NaN, 1]", parse_constant=lambda _: None, parse_int=float) == [None, 1.0]


def test_no_recursion_limit_lets_a_stranger_end_the_process() -> None:
    program = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from noli.core.foreign import loads\n"
        "try: loads('[' * 100_000)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "it is nested too deeply\n")
