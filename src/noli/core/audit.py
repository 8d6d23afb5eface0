"""Audit: what attacks bring back from scrambled pictures or codes, and what that leaves of the key."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

# What an attacker has beside the scrambled pictures or codes, from least to most.
Has = Literal[
    "nothing more",
    "pictures like these",
    "the pictures, unordered",
    "one picture in plain",
    "some pictures in plain",
    "pictures of his choice",
    "other codes: a demonstration",
]
# Tried on something else than what was given, which therefore says nothing against that.
DEMONSTRATION: Has = "other codes: a demonstration"
HAS: tuple[Has, ...] = get_args(Has)
# SSIM from which a picture counts as brought back; fixed before anything was measured.
BROUGHT_BACK = 0.5
# Share of codes that may be matched with their pictures: above it privacy is "bad" by the words of the
# NeuraCrypt challenge, and up to 5 % "good".
MATCHED = 0.2
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
        ssim: Mean SSIM between what it brings back and the originals, in [-1, 1]; None where it only tells
            which code belongs to which picture.
        back: Share of the pictures with an SSIM of 0.5 or more, or of the codes that were matched rightly.
        chance: Share that guessing matches; None where nothing is matched.
        low, high: Exact interval of Clopper and Pearson at 95 % of the share that was matched.
        exact: Share of the values that come back as they were; None where that says nothing.
        left_bits: log2 of the keys that are left to try; None where the attack does not look for the key.
        seconds: CPU seconds.
        note: What has to be known to read the row; may be empty.
        retrieval: Share of the pictures that it tells from all others, had it these in plain; None where that
            was not asked.
        guessing: The same by guessing.
    """

    name: str
    about: str
    has: Has
    pictures: int
    ssim: float | None = None
    back: float
    chance: float | None = None
    low: float | None = None
    high: float | None = None
    exact: float | None = None
    left_bits: float | None = None
    seconds: float
    note: str = ""
    retrieval: float | None = None
    guessing: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it was tried on what was given; a demonstration on something else does not count."""
        return self.has != DEMONSTRATION

    @property
    def broken(self) -> bool:
        """Whether half of the pictures came back, or more codes were matched than may be and by chance."""
        if self.chance is None:
            return self.counts and self.back >= 0.5
        return self.counts and self.back > MATCHED and (self.low or 0.0) > self.chance

    @property
    def anonymity(self) -> float | None:
        """Among how many pictures a code hides, 1 / share that is matched (effective k); None: no match."""
        return 1 / self.back if self.chance is not None and self.back else None


class Audit(_Frozen):
    """All attacks on one set of scrambled pictures or codes.

    Attributes:
        method, title, config: How the pictures are scrambled or encoded.
        pictures, shape: How many were attacked, and their height, width and channels.
        scrambled_ssim: Mean SSIM between scrambled pictures and originals: what needs no attack. None: codes.
        nominal, capped, effective: log2 of the number of keys: by the formula, as 256 bits allow, and what
            the best attack leaves. None: codes, whose attacks do not look for the key.
        rows: The attacks.
        limits: What this does not show.
    """

    method: str
    title: str
    config: dict[str, object]
    pictures: int
    shape: tuple[int, int, int]
    scrambled_ssim: float | None = None
    nominal: float | None = None
    capped: float = 256.0
    effective: float | None = None
    rows: tuple[AuditRow, ...]
    limits: tuple[str, ...]

    @property
    def worst(self) -> AuditRow | None:
        """The attack that brings back, or matches, most."""
        rows = [row for row in self.rows if row.counts]
        return max(rows, key=lambda row: row.back if row.ssim is None else row.ssim, default=None)

    @property
    def matches(self) -> bool:
        """Whether attacks tell which code belongs to which picture, instead of bringing pictures back."""
        return any(row.chance is not None for row in self.rows)

    @property
    def words(self) -> tuple[str, ...]:
        """What came of it, in plain words."""
        said = self._verdict()
        if self.scrambled_ssim is not None and self.scrambled_ssim >= BROUGHT_BACK:
            said.append("They show what is in them without any attack.")
        if self.nominal is None or self.effective is None:
            said.append("The key of 256 bits is not what these attacks look for, and does not help.")
            return tuple(said)
        told = max((row.retrieval or 0.0 for row in self.rows), default=0.0)
        if told >= TOLD:
            said.append(
                "Whoever has the scrambled pictures can tell to which of many plain ones they belong."
            )
        if self.least is not None and self.effective > 1:
            said.append(
                "The pictures came back without the key, so that its bits are no measure of anything."
            )
        most = (
            f" and {self.capped:,.0f} at most, as it follows from 256" if self.capped < self.nominal else ""
        )
        said.append(
            f"The key has {self.nominal:,.0f} bits by the formula{most}; {self.effective:,.1f} are left "
            "after the best attack that looks for it."
        )
        return tuple(said)

    def _verdict(self) -> list[str]:
        thing = "codes" if self.nominal is None else "scrambled pictures"
        if self.rows and self.worst is None:
            said = ["This was a demonstration on other codes: nothing was tried on these."]
        elif self.least is None:
            said = ["None of these attacks brought back half of the pictures. Others may."]
            if self.matches:
                said = [f"None of these attacks matched more than {MATCHED:.0%} of the codes. Others may."]
        elif self.matches:
            said = [f"Whoever has the codes and {self.least} can tell which code belongs to which picture."]
        elif self.least == "nothing more":
            said = [f"Whoever has the {thing} can bring them back. Treat them as if they were plain."]
            if self.nominal is None:
                said = [
                    "Whoever has the codes can bring the pictures back. Treat them as if they were plain."
                ]
        else:
            said = [f"Whoever has the {thing} and {self.least} can bring them back."]
        return said

    @property
    def least(self) -> Has | None:
        """The least that an attacker needs for an attack that succeeds; None where none does."""
        broken = {row.has for row in self.rows if row.broken}
        return next((has for has in HAS if has in broken), None)
