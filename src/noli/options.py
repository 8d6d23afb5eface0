"""From words to a Config: one parser for Python keywords, CLI flags, ``--set`` and YAML files."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from noli.core.errors import UsageError
from noli.core.method import MethodConfig, Spec
from noli.core.plugins import did_you_mean

_FRACTION = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")

_PREFIX = "Value error, "  # what pydantic puts before our own words

C = TypeVar("C", bound=MethodConfig)


def resolve(spec: Spec, options: Mapping[str, object]) -> MethodConfig:
    """Build a method's Config from names and values; see :func:`configure`."""
    return configure(spec.config, spec.name, options)


def configure(config: type[C], owner: str, options: Mapping[str, object]) -> C:
    """Build a Config from names and values.

    Args:
        config: Its class.
        owner: Whose options they are, for messages.
        options: Field name -> value. Strings are parsed for the field's type, so ``"8/255"``, ``"3"``,
            ``"true"`` and ``"none"`` work.

    Raises:
        UsageError: A name that there is not (with the nearest ones), or a value that does not
            fit (with the reason).
    """
    fields = config.model_fields
    values: dict[str, object] = {}
    for name, value in options.items():
        field = name.replace("-", "_")
        if field not in fields:
            raise UsageError(
                f"{owner} has no option of this name.", where=name, fix=did_you_mean(field, fields)
            )
        values[field] = parse_value(fields[field], value) if isinstance(value, str) else value
    try:
        return config.model_validate(values)
    except ValidationError as error:
        raise _invalid(config, owner, error) from None


def parse_value(field: FieldInfo, text: str) -> object:
    """Return the first reading of ``text`` that the field accepts; ``text`` itself when none does."""
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or object)
    for candidate in _readings(text):
        try:
            return adapter.validate_python(candidate)
        except ValidationError:
            continue
    return text


def _readings(text: str) -> list[object]:
    found: list[object] = []
    fraction = _FRACTION.fullmatch(text)
    if fraction and float(fraction[2]) != 0:
        found.append(float(fraction[1]) / float(fraction[2]))
    nothing = text.strip().lower() in {"none", "null", "~"}
    found += [None, text, []] if nothing else [text]  # an empty list is shown as `none`, too
    with contextlib.suppress(yaml.YAMLError):
        found.append(yaml.safe_load(text))
    if "," in text and not text.lstrip().startswith(("[", "{")):
        # A plain list, `--set rows=plain,jpeg-10`, is easier on shells than brackets.
        found.append([part.strip() for part in text.split(",")])
    elif found[-1] == text:
        found.append([text])
    return found


def _invalid(config: type[MethodConfig], owner: str, error: ValidationError) -> UsageError:
    problems = error.errors(include_url=False)
    lines = [
        f"{'.'.join(map(str, p['loc'])) or 'options'}={p['input']!r}: {p['msg'].removeprefix(_PREFIX)}"
        for p in problems
    ]
    name = str(next(iter(problems[0]["loc"]), ""))
    field = config.model_fields.get(name)
    fix = f"{name} is {describe(field)}" if field else None
    return UsageError(f"An option of {owner} is not valid.", where=lines[0], fix=fix, items=lines)


def describe(field: FieldInfo) -> str:
    """Return type, range and default of a Config field in words, for help texts and errors."""
    kind, word, rest = type_name(field.annotation).partition(" or ")
    text = " ".join([kind, *_bounds(field.metadata), *([word.strip(), rest] if rest else [])])
    if field.is_required():
        return text
    return f"{text}, default {show(field.get_default(call_default_factory=True, validated_data={}))}"


def meaning(config: type[MethodConfig], name: str) -> str:
    """Return what a Config field means: its description, or its line in the class docstring; no markup."""
    description = config.model_fields[name].description
    if description:
        return description.replace("``", "")
    attributes = (inspect.getdoc(config) or "").partition("Attributes:")[2]
    found = re.search(rf"^ +{re.escape(name)}: (.+(?:\n {{5,}}.+)*)", attributes, re.MULTILINE)
    return " ".join(found[1].replace("``", "").split()) if found else ""


def type_name(annotation: Any) -> str:
    """Return a short name of a field's type: ``integer``, ``a|b|c``, ``number or none``."""
    plain = {int: "integer", float: "number", bool: "true|false", str: "text", type(None): "none"}
    if annotation in plain:
        return plain[annotation]
    args = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return " ".join([type_name(args[0]), *_bounds(args[1:])])
    if get_origin(annotation) is Literal:
        return "|".join(map(str, args))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings"
    if get_origin(annotation) in (tuple, list):
        return f"list of {type_name(args[0])}"
    if args:
        return " or ".join(dict.fromkeys(type_name(arg) for arg in args))
    return getattr(annotation, "__name__", str(annotation))


def _bounds(metadata: Iterable[Any]) -> list[str]:
    """Name the bounds among a type's annotations: ``[">= 8", "<= 512"]``."""
    parts = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = ((sign, getattr(part, key, None)) for part in parts for key, sign in signs.items())
    return [f"{sign} {bound}" for sign, bound in found if bound is not None]


def show(value: object) -> str:
    """Return a value as the user would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(show(part) for part in value) or "none"
    if not isinstance(value, float):
        return str(value)
    if float(short := f"{value:g}") == value:
        return short
    # Strengths are thought of in 8-bit levels.
    levels = round(value * 255) if abs(value) <= 1 else 0
    return f"{levels}/255" if levels / 255 == value else repr(value)


def read_settings(pairs: Sequence[str], file: str | Path | None = None) -> dict[str, object]:
    """Merge a YAML file with ``name=value`` pairs; the pairs win.

    Raises:
        UsageError: The file cannot be read or is no mapping, or a pair has no ``=``.
    """
    settings: dict[str, object] = {}
    if file is not None:
        try:
            loaded = yaml.safe_load(Path(file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(
                "The settings file cannot be read.", where=str(file), why=str(error), fix="give a YAML file"
            ) from error
        if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
            raise UsageError(
                "The settings file must map option names to values.",
                where=str(file),
                fix="write one `name: value` per line",
            )
        settings.update(loaded)
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError("A setting must read name=value.", where=pair, fix="for example --set eps=0.03")
        settings[name.strip().replace("-", "_")] = value
    return settings
