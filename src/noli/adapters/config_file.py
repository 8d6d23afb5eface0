"""Reading the configuration of an endpoint from YAML or JSON, and label maps from JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from noli.adapters.bodies import Frozen, JsonBody, MultipartBody, RawBody
from noli.adapters.endpoint_config import EndpointConfig, Refusals
from noli.core import foreign
from noli.core.errors import UsageError
from noli.core.plugins import did_you_mean

LabelMap = dict[str, tuple[str, ...]]

_PARTS: dict[str, type[Frozen]] = {"json": JsonBody, "multipart": MultipartBody, "raw": RawBody}
_UNKNOWN = "extra_forbidden"
_PREFIX = "Value error, "  # what pydantic puts before our own words
_HEAD = ["service", "class"]


def load_endpoint(file: str | Path) -> EndpointConfig:
    """Read the configuration of an endpoint.

    Args:
        file: YAML or JSON. Where `label_map` is a text, it names a file of :func:`load_label_map` and
            `ca_file` a PEM file, both relative to this file's folder.

    Raises:
        UsageError: The file cannot be read, names an option that there is not, or a value does not fit. No
            message repeats a value: it may be a password.
    """
    path = Path(file)
    try:
        settings = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the message itself would quote the line
        why = f"line {mark.line + 1}, column {mark.column + 1}" if mark else type(error).__name__
        raise UsageError("This is neither YAML nor JSON.", where=str(path), why=why) from None
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        fix = "write one `name: value` per line, url first"
        raise UsageError("The file must map option names to values.", where=str(path), fix=fix)
    if isinstance(settings.get("label_map"), str):
        settings["label_map"] = load_label_map(path.parent / settings["label_map"])
    if isinstance(settings.get("ca_file"), str):
        settings["ca_file"] = path.parent / settings["ca_file"]
    return make_endpoint(settings, where=str(path))


def make_endpoint(settings: Mapping[str, Any], where: str = "endpoint") -> EndpointConfig:
    """Build the configuration of an endpoint from names and values.

    Raises:
        UsageError: As :func:`load_endpoint`; `where` is what it names.
    """
    try:
        return EndpointConfig.model_validate(dict(settings))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [_line(problem["loc"], problem["type"], problem["msg"]) for problem in problems]
    first = problems[0]
    fix = None
    if first["type"] == _UNKNOWN:
        fix = did_you_mean(str(first["loc"][-1]), _fields(first["loc"]))
    what = "The configuration of the endpoint is not valid."
    raise UsageError(what, where=where, why=lines[0], fix=fix, items=lines) from None


def _line(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    said = "there is no such option" if kind == _UNKNOWN else message.removeprefix(_PREFIX)
    return f"{'.'.join(map(str, loc)) or 'endpoint'}: {said}"


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    """Return the names that are known where an unknown one stands."""
    if len(loc) == 1:
        return list(EndpointConfig.model_fields)
    if loc[0] == "refusals":
        return list(Refusals.model_fields)
    part = _PARTS.get(str(loc[1]))
    return list(part.model_fields) if part else []


def load_label_map(file: str | Path) -> LabelMap:
    """Read which of our classes a service's labels mean.

    Args:
        file: JSON (``{"tabby": "cat", "pet": ["cat", "dog"]}``), or CSV with the header ``service,class`` and
            a row per pair; a label in several rows means several classes.

    Raises:
        UsageError: The file cannot be read, or is not such a map.
    """
    path = Path(file)
    text = _read(path)
    try:
        return _from_csv(text) if path.suffix.lower() == ".csv" else _from_json(text)
    except (ValueError, csv.Error) as error:
        fix = 'write JSON {"their label": "our class"} or CSV with the header service,class'
        raise UsageError("This is not a label map.", where=str(path), why=str(error), fix=fix) from None


def _from_json(text: str) -> LabelMap:
    found = foreign.loads(text, object_pairs_hook=_unique)
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    made: LabelMap = {}
    for label, ours in found.items():
        names = [ours] if isinstance(ours, str) else ours
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{label!r} must lead to a class name or a list of them")
        made[label.strip()] = tuple(dict.fromkeys(names))
    return made


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # Python's reader would keep the last one and say nothing
        twice = next(name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return made


def _from_csv(text: str) -> LabelMap:
    rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    if not rows or [name.strip().lower() for name in rows[0]] != _HEAD:
        raise ValueError("the first line must be service,class")
    made: LabelMap = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2 or not row[1].strip():
            raise ValueError(f"row {number} has not two cells")
        label, name = (cell.strip() for cell in row)
        made[label] = tuple(dict.fromkeys((*made.get(label, ()), name)))
    return made


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UsageError("The file is missing.", where=str(path), fix="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError("The file cannot be read.", where=str(path), why=why) from None
