"""Small JSON files that say what a folder holds, with a digest over what they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from noli.core import foreign
from noli.core.errors import DataError

FIX = "name a folder that noli wrote, or take a whole copy of it"


class Digested(BaseModel):
    """Base of such files. The digest finds damage; it is no signature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def rendered(self) -> bytes:
        """Return the only file that says this."""
        facts = self.model_dump(mode="json")
        digest = hashlib.sha256(_text(facts)).hexdigest()
        return _text({**facts, "digest": digest})

    @classmethod
    def read(cls, file: Path, what: str) -> Self:
        """Read such a file.

        Args:
            file: Where it lies.
            what: What the folder is called in errors, like ``keyed model``.

        Raises:
            DataError: Missing, damaged, foreign or of another version.
        """
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DataError(
                f"A file of the {what} cannot be read.", where=str(file), why=str(error.strerror), fix=FIX
            ) from error
        try:
            facts = foreign.loads(data)
            made = cls(**{name: value for name, value in facts.items() if name != "digest"})
            whole = made.rendered() == data
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            why = str(error).partition("\n")[0]
            other = f"This is no {what} of this version."
            raise DataError(other, where=str(file), why=why, fix=FIX) from error
        if not whole:
            raise DataError(f"The manifest of the {what} is damaged.", where=str(file), fix=FIX)
        return made


def _text(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode()
