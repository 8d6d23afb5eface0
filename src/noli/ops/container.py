"""The header of a scrambled picture: what it takes, beside the key, to bring it back.

It travels inside the file (a text chunk of PNG, a comment of JPEG), so that a picture can be brought back
without the run that made it. It holds nothing secret and nothing of the picture but its size: the method and
its options, the public id of the key, a check value by which wrong keys and changed headers are noticed
before any work, and the nonce of a fresh key, from which nobody without the key can derive anything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noli.core.errors import DataError
from noli.core.key import Key
from noli.core.method import Extra

MAX_BYTES = 4096
_Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Side = Annotated[int, Field(ge=1, le=1 << 20)]


class Header(BaseModel):
    """What a scrambled picture says about itself.

    Attributes:
        v: Version of the format.
        method: Registry name.
        config: Options of the method, all of them: a default may change.
        height, width, channels: Of the picture before it was scrambled; 1 (grey) or 3, alpha not counted.
        key_id: Public name of the key.
        check: First 8 bytes of a keyed digest over everything else here: wrong keys and changed headers are
            noticed before any work. The pixels are not vouched for.
        nonce: From which the key of this picture follows, where it has one of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1] = 1
    method: str = Field(pattern=r"^[a-z0-9_./-]{1,80}$")
    config: dict[str, Any]
    height: _Side
    width: _Side
    channels: Literal[1, 3]
    key_id: _Hex16
    check: _Hex16
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None

    @classmethod
    def of(
        cls, method: str, config: dict[str, Any], shape: tuple[int, int, int], key: Key, nonce: str | None
    ) -> Header:
        """Describe a picture of a shape ``(H, W, C)`` that is scrambled with a key."""
        height, width, channels = shape
        bare = cls.model_validate(
            {
                "method": method, "config": config, "height": height, "width": width, "channels": channels,
                "key_id": key.id, "check": "0" * 16, "nonce": nonce,
            }
        )  # fmt: skip
        return bare.sealed(key)

    def sealed(self, key: Key, nonce: str | None = None) -> Header:
        """Return it under a key, with another nonce if one is given."""
        changed = {"key_id": key.id, "nonce": nonce or self.nonce}
        bare = self.model_copy(update=changed)
        return bare.model_copy(update={"check": bare._digest(key)})

    def opens(self, key: Key) -> bool:
        """Tell whether it was made with a key, and not changed since."""
        return self.key_id == key.id and hmac.compare_digest(self.check, self._digest(key))

    def _digest(self, key: Key) -> str:
        told = json.dumps(self.model_dump(exclude={"check"}), sort_keys=True)
        return key.stream("lock/header", hashlib.sha256(told.encode()).hexdigest()).bytes(8).hex()

    @classmethod
    def parse(cls, text: str) -> Header:
        """Read what :meth:`render` wrote.

        Raises:
            DataError: It is no such header, damaged, or of a later version.
        """
        if len(text) > MAX_BYTES:
            raise _damaged(f"it has {len(text):,} characters")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            why = f"{'.'.join(map(str, fault['loc'])) or 'header'}: {fault['msg']}"
        raise _damaged(why)

    def render(self) -> str:
        """Return it as one line of ASCII."""
        return self.model_dump_json(exclude_none=True, ensure_ascii=True)

    @property
    def extra(self) -> Extra:
        """What `invert` of the method is told about the picture."""
        return {name: float(getattr(self, name)) for name in ("height", "width", "channels")}


def _damaged(why: str) -> DataError:
    return DataError(
        "The header of a scrambled picture cannot be used.",
        why=why,
        fix="update noli, or undo with the run folder (OUT.noli), which does not need the header",
    )
