"""JSON that strangers wrote: read only as deep as no stack can mind."""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 500
# Strings as wholes: brackets in them nest nothing.
_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


def loads(data: str | bytes, **options: Any) -> Any:
    """Read JSON like ``json.loads``, but refuse what is nested deeply before it is read.

    ``json.loads`` goes as deep as ``sys.getrecursionlimit`` allows; libraries raise that (py_ecc to 100,000),
    and then nested brackets end the process.

    Args:
        data: The document; bytes in UTF-8, UTF-16 or UTF-32.
        options: As for ``json.loads``.

    Raises:
        ValueError: No JSON, or nested more than 500 deep.
    """
    text = data if isinstance(data, str) else data.decode(json.detect_encoding(data), "surrogatepass")
    depth = 0
    for found in _MARK.finditer(text):
        mark = found[0]
        depth += (mark in "[{") - (mark in "]}")
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
    return json.loads(text, **options)
