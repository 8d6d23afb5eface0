"""Theft: what somebody without the key gets out of a locked model, and how many labels it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict

# Shares of the unlocked model's score that a thief may be content with.
SHARES = (0.8, 0.9, 0.95)
PER_CLASS, BOXED = "labelled pictures per class", "pictures with boxes"
SCRATCH = "training from scratch"
# Rows of use without the key.
NO_KEY, WRONG_MEAN, WRONG_MOST = "no key", "wrong keys", "worst wrong key"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Keyless(NamedTuple):
    """What a locked model gives without its key: measured once, for every table that shows it.

    Attributes:
        no_key: Score of the model as it is.
        wrong_mean: Mean score under wrong keys; None where none was tried.
        wrong_most: The highest among them; None, too.
        wrong_keys: How many were tried.
    """

    no_key: float
    wrong_mean: float | None = None
    wrong_most: float | None = None
    wrong_keys: int = 0

    @classmethod
    def of(cls, no_key: float, wrong: Sequence[float] = ()) -> Self:
        """Return it from the score of every wrong key."""
        return cls(no_key, sum(wrong) / len(wrong), max(wrong), len(wrong)) if wrong else cls(no_key)

    @classmethod
    def read(cls, rows: Mapping[str, float], wrong_keys: int) -> Self:
        """Return it from the rows of a table of use."""
        return cls(rows[NO_KEY], rows[WRONG_MEAN], rows[WRONG_MOST], wrong_keys)

    @property
    def rows(self) -> dict[str, float]:
        """The rows of a table of use; without wrong keys there is one only."""
        found = {NO_KEY: self.no_key, WRONG_MEAN: self.wrong_mean, WRONG_MOST: self.wrong_most}
        return {name: value for name, value in found.items() if value is not None}


class TheftRow(_Frozen):
    """One attack with so many labelled pictures.

    Attributes:
        attack: Its name.
        labels: Labelled pictures that the thief has, in the record's unit.
        score: Accuracy or mAP that he reaches on held-out pictures, in [0, 1].
        asked: Times that he let the model look at all of his pictures.
    """

    attack: str
    labels: int
    score: float
    asked: int


class Theft(_Frozen):
    """All attacks on one lock.

    Attributes:
        unit: What `labels` counts.
        size: Places that the key decides about.
        score: Of the model with its key.
        no_key: Of the model as it is, without the key's permutation.
        wrong_mean: Mean score under wrong keys; None where none was tried.
        wrong_most: The highest among them; None, too.
        wrong_keys: How many were tried.
        displaced: Score by how many places of the right permutation are wrong.
        matched: Score with a permutation that is estimated from a public network; None where there is none.
        public: Of the public network itself, which is no attack on the lock; None where there is none.
        chance: Of guessing.
        rows: Attacks with labelled pictures.
    """

    unit: str = PER_CLASS
    size: int
    score: float
    no_key: float
    wrong_mean: float | None
    wrong_most: float | None
    wrong_keys: int
    displaced: dict[int, float]
    matched: float | None = None
    public: float | None = None
    chance: float = 0.0
    rows: tuple[TheftRow, ...]

    @property
    def without_labels(self) -> float:
        """The best score that needs no labelled picture; to know a lucky wrong key, one needs some."""
        return max(self.no_key, self.wrong_mean or 0.0, self.matched or 0.0)

    def bar(self, share: float) -> float:
        """Return the score that is a share of what the key gives above guessing."""
        return self.chance + share * (self.score - self.chance)

    def needed(self, share: float) -> int | None:
        """Return the fewest labels that an attack needs for a share of the score; None: none did.

        Training from scratch is no attack on the lock: it is what the thief could do without the model.
        """
        if self.without_labels >= self.bar(share):
            return 0
        enough = [row.labels for row in self.rows if row.attack != SCRATCH and row.score >= self.bar(share)]
        return min(enough, default=None)

    @property
    def labels(self) -> tuple[int, ...]:
        """How many labelled pictures were tried, in the record's unit."""
        return tuple(sorted({row.labels for row in self.rows}))

    def counted(self, count: int) -> str:
        """Return a number of labels with its unit."""
        return f"{count} {self.unit.replace('pictures', 'picture') if count == 1 else self.unit}"

    def table(self) -> dict[str, dict[int, float]]:
        """Return the scores by attack and number of labels."""
        found: dict[str, dict[int, float]] = {}
        for row in self.rows:
            found.setdefault(row.attack, {})[row.labels] = row.score
        return found

    @property
    def words(self) -> tuple[str, ...]:
        """What the lock costs a thief: per number of labels, the largest share that they buy."""
        if self.score <= self.chance:
            return ("With its key the model is no better than guessing: there is nothing to steal.",)
        bought = {self.needed(share): share for share in SHARES}
        said = []
        for count, share in bought.items():
            if count == 0:
                said.append(f"At least {share:.0%} of the score needs no key and no labelled picture.")
            elif count is not None:
                said.append(f"A thief reaches {share:.0%} of the score with {self.counted(count)}.")
        if None in bought and self.rows:
            least = next(share for share in SHARES if self.needed(share) is None)
            most = max(self.labels, default=0)
            what = f"{least:.0%} of it with {self.counted(most)}{' or fewer' if most > 1 else ''}"
            said.append(f"No attack with labelled pictures, training from scratch aside, reached {what}.")
        if self.public is not None and self.public >= self.score:
            said.append("The public network, which everybody has, does as well without any of this.")
        return tuple(said)
