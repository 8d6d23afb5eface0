"""Words to Config: fractions, none, lists, did-you-mean, files, and that every Config survives the trip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from noli import options, registry
from noli.core.errors import UsageError
from noli.core.method import Card, MethodConfig, Spec


class Config(MethodConfig):
    eps: float = Field(0.1, ge=0, le=1, description="Strength.")
    k: int | None = Field(None, ge=1)
    mode: Literal["on", "off", "none"] = "on"
    rows: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (1, 2)
    fast: bool = False
    note: str = ""


SPEC = Spec("acme/x", "protect", "data->data", Config, Card("X", "none", (), ()), options=("eps", "k"))


@pytest.mark.parametrize(
    ("given_text", "field", "expected"),
    [
        ("8/255", "eps", 8 / 255),
        (" 1 / 4 ", "eps", 0.25),
        ("0.5", "eps", 0.5),
        ("1e-3", "eps", 1e-3),
        ("none", "k", None),
        ("3", "k", 3),
        ("off", "mode", "off"),
        ("none", "mode", "none"),
        ("plain", "rows", ("plain",)),
        ("plain,jpeg-10", "rows", ("plain", "jpeg-10")),
        ("[plain, crop]", "rows", ("plain", "crop")),
        ("none", "rows", ()),
        ("none", "sizes", ()),
        ("none", "note", "none"),
        ("3,5", "sizes", (3, 5)),
        ("true", "fast", True),
        ("123", "note", "123"),
        ("8/255", "note", "8/255"),
        ("a: b", "note", "a: b"),
        ("[unclosed", "note", "[unclosed"),
    ],
)
def test_text_is_read_for_the_fields_type(given_text: str, field: str, expected: object) -> None:
    value = getattr(options.resolve(SPEC, {field: given_text}), field)
    assert value == expected
    assert type(value) is type(expected)


def test_dashes_and_underscores_are_the_same() -> None:
    class Dashed(MethodConfig):
        per_image: float = 0.0

    spec = Spec("acme/y", "protect", "data->data", Dashed, Card("Y", "none", (), ()))
    assert options.resolve(spec, {"per-image": "1/2"}).per_image == 0.5


def test_unknown_names_say_which_exist() -> None:
    with pytest.raises(UsageError) as caught:
        options.resolve(SPEC, {"esp": 1})
    assert caught.value.fix == "did you mean eps?"
    assert caught.value.where == "esp"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("bad", ["2", "-1/255", "1/0", "much", "nan"])
def test_bad_values_say_what_is_allowed(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.resolve(SPEC, {"eps": bad})
    assert "eps=" in (caught.value.where or "")
    assert caught.value.fix == "eps is number >= 0 <= 1, default 0.1"


def test_typed_values_pass_through_and_are_checked() -> None:
    assert options.resolve(SPEC, {"sizes": [4], "eps": 1}).sizes == (4,)
    with pytest.raises(UsageError, match="k="):
        options.resolve(SPEC, {"k": 0})


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "integer"),
        (Literal["a", "b"], "a|b"),
        (int | None, "integer or none"),
        (tuple[float, ...], "list of number"),
        (dict, "dict"),
        (Config, "settings"),
        (Literal["auto"] | Annotated[int, Field(ge=8, le=512)], "auto or integer >= 8 <= 512"),
        (tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None, "list of number > 0 < 1 or none"),
    ],
)
def test_types_are_named_in_plain_words(annotation: object, words: str) -> None:
    assert options.type_name(annotation) == words


def test_settings_come_from_a_file_and_pairs_win(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text("eps: 8/255\nk: 5\nrows: [a, b]\n")
    merged = options.read_settings(["k=7", "per-image=1"], file)
    assert merged == {"eps": "8/255", "k": "7", "rows": ["a", "b"], "per_image": "1"}
    assert options.resolve(SPEC, {n: v for n, v in merged.items() if n != "per_image"}).k == 7


@pytest.mark.parametrize("pair", ["k", "=3", " =3"])
def test_a_pair_without_a_name_or_value_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="name=value"):
        options.read_settings([pair])


@pytest.mark.parametrize("text", ["- a\n- b\n", "1: x\n", "a: [", ""])
def test_bad_settings_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        options.read_settings([], file)
    with pytest.raises(UsageError, match=r"missing\.yaml"):
        options.read_settings([], tmp_path / "missing.yaml")


@pytest.mark.parametrize("name", sorted(registry.TABLE))
def test_every_config_round_trips_through_json_and_words(name: str) -> None:
    spec = registry.get(name)
    default = spec.config()
    assert spec.config.model_validate_json(default.model_dump_json()) == default
    words = {field: options.show(value) for field, value in default}
    typed = {n: w for n, w in words.items() if not isinstance(getattr(default, n), dict | MethodConfig)}
    assert options.resolve(spec, typed) == default
    for field, info in spec.config.model_fields.items():
        assert options.meaning(spec.config, field), "every option of a method is documented"
        assert options.describe(info)


def test_meanings_come_from_the_field_or_from_the_docstring() -> None:
    class Documented(MethodConfig):
        """Two options.

        Attributes:
            one: The first one,
                over two lines.
            two_ones: The second: with a colon.
            three: As ``one``.
        """

        one: int = 1
        two_ones: int = Field(11, description="From the field.")
        three: int = 1
        four: int = Field(1, description="``none`` or more")
        nameless: int = 0

    assert options.meaning(Documented, "three") == "As one."
    assert options.meaning(Documented, "four") == "none or more"
    assert options.meaning(Documented, "one") == "The first one, over two lines."
    assert options.meaning(Documented, "two_ones") == "From the field."
    assert options.meaning(Documented, "nameless") == ""


@given(st.integers(0, 255), st.integers(1, 255))
def test_fractions_are_exact(top: int, bottom: int) -> None:
    field = Config.model_fields["note"]
    assert options.parse_value(field, f"{top}/{bottom}") == f"{top}/{bottom}"

    class Free(MethodConfig):
        x: float = 0.0

    assert options.parse_value(Free.model_fields["x"], f"{top}/{bottom}") == top / bottom


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_shown_can_be_typed(value: float) -> None:
    class Free(MethodConfig):
        x: float = 0.0

    shown = options.show(value)
    assert options.parse_value(Free.model_fields["x"], shown) == value


def test_strengths_are_shown_in_levels() -> None:
    shown = [options.show(value) for value in (8 / 255, 0.5, 1.0, 0.123456789, None, True, ("a", "b"), ())]
    assert shown == ["8/255", "0.5", "1", "0.123456789", "none", "true", "a,b", "none"]
