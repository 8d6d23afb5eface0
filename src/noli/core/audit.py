"""Audit: what attacks bring back from scrambled pictures, and what that leaves of the key."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

# What an attacker has beside the scrambled pictures, from least to most.
Has = Literal["nothing more", "pictures like these", "one picture in plain", "pictures of his choice"]
HAS: tuple[Has, ...] = (
    "nothing more",
    "pictures like these",
    "one picture in plain",
    "pictures of his choice",
)
# SSIM from which a picture counts as brought back; fixed before anything was measured.
BROUGHT_BACK = 0.5
# Share of pictures found among plain ones from which it is said so; fixed beforehand, too.
TOLD = 0.5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuditRow(_Frozen):
    """One attack.

    Attributes:
        name, about: The attack, and what it does in plain words.
        has: What the attacker has beside the scrambled pictures.
        pictures: How many it was tried on.
        ssim: Mean SSIM between what it brings back and the originals, in [-1, 1].
        back: Share of the pictures with an SSIM of 0.5 or more.
        exact: Share of the values that come back as they were; None where that says nothing.
        left_bits: log2 of the keys that are left to try; None where the attack does not look for the key.
        seconds: CPU seconds.
        note: What has to be known to read the row; may be empty.
        retrieval: Share of the pictures that it tells from all others, had it these in plain; None where that
            was not asked.
        chance: The same by guessing.
    """

    name: str
    about: str
    has: Has
    pictures: int
    ssim: float
    back: float
    exact: float | None = None
    left_bits: float | None = None
    seconds: float
    note: str = ""
    retrieval: float | None = None
    chance: float | None = None


class Audit(_Frozen):
    """All attacks on one set of scrambled pictures.

    Attributes:
        method, title, config: How the pictures are scrambled.
        pictures, shape: How many were attacked, and their height, width and channels.
        scrambled_ssim: Mean SSIM between scrambled pictures and originals: what needs no attack.
        nominal, capped, effective: log2 of the number of keys: by the formula, as 256 bits allow, and what
            the best attack leaves.
        rows: The attacks.
        limits: What this does not show.
    """

    method: str
    title: str
    config: dict[str, object]
    pictures: int
    shape: tuple[int, int, int]
    scrambled_ssim: float
    nominal: float
    capped: float
    effective: float
    rows: tuple[AuditRow, ...]
    limits: tuple[str, ...]

    @property
    def worst(self) -> AuditRow | None:
        """The attack that brings back most, by SSIM."""
        return max(self.rows, key=lambda row: row.ssim, default=None)

    @property
    def words(self) -> tuple[str, ...]:
        """What came of it, in plain words."""
        if self.least is None:
            said = ["None of these attacks brought back half of the pictures. Others may."]
        elif self.least == "nothing more":
            said = [
                "Whoever has the scrambled pictures can bring them back. Treat them as if they were plain."
            ]
        else:
            said = [f"Whoever has the scrambled pictures and {self.least} can bring them back."]
        if self.scrambled_ssim >= BROUGHT_BACK:
            said.append("They show what is in them without any attack.")
        told = max((row.retrieval or 0.0 for row in self.rows), default=0.0)
        if told >= TOLD:
            said.append(
                "Whoever has the scrambled pictures can tell to which of many plain ones they belong."
            )
        if self.least is not None and self.effective > 1:
            said.append(
                "The pictures came back without the key, so that its bits are no measure of anything."
            )
        said.append(
            f"The key has {self.nominal:,.0f} bits by the formula and {self.capped:,.0f} at most, as it "
            f"follows from 256; {self.effective:,.1f} are left after the best attack that looks for it."
        )
        return tuple(said)

    @property
    def least(self) -> Has | None:
        """The least that an attacker needs to bring back half of the pictures; None where none does."""
        broken = {row.has for row in self.rows if row.back >= 0.5}
        return next((has for has in HAS if has in broken), None)
