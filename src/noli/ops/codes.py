"""What methods share that publish codes instead of pictures: an option that has to be chosen knowingly."""

from __future__ import annotations

from pydantic import Field

from noli.core.method import MethodConfig


class BrokenConfig(MethodConfig):
    """Options of every method whose protection is known to be broken."""

    i_understand_this_is_broken: bool = Field(
        False, description="say that this protects nothing, and is to be compared or attacked"
    )
