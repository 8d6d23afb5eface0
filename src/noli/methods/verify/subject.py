"""The data a battery runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.dataset import content_id
from noli.core.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LearnabilityData:
    """Images at the training size; row i of the clean and of the protected arrays is the same item.

    Attributes:
        clean_x, protected_x: ``uint8 [N, S, S, C]``.
        clean_y, protected_y: ``int64 [N]`` in ``0 .. K - 1``.
        test_x, test_y: Held-out clean images ``uint8 [M, S, S, C]`` and labels, disjoint from the above.
        classes: K class names.
        restored: ``(labels, pairs)`` -> the protected images as the leaked-pairs attack at native resolution
            leaves them, with one filter per label and `pairs` pairs of each; called when a training needs
            them. None: the attack runs on ``protected_x``.
        notes: What the reader must know about how the data was matched and sampled.
        counts: Numbers behind the notes.
        doubt: Why nothing may be concluded from this data, in a sentence; nothing is trained then.

    Raises:
        DataError: Arrays that do not fit together.
    """

    clean_x: Images
    protected_x: Images
    clean_y: Labels
    protected_y: Labels
    test_x: Images
    test_y: Labels
    classes: tuple[str, ...]
    restored: Callable[[Labels, int], Images] | None = None
    notes: tuple[str, ...] = ()
    counts: dict[str, float] = field(default_factory=dict)
    doubt: str = ""

    def __post_init__(self) -> None:
        shapes = {self.clean_x.shape[1:], self.protected_x.shape[1:], self.test_x.shape[1:]}
        lengths = {len(a) for a in (self.clean_x, self.protected_x, self.clean_y, self.protected_y)}
        if len(lengths) != 1 or len(self.test_x) != len(self.test_y) or len(shapes) != 1:
            raise DataError(
                "Clean, protected and held-out arrays do not fit together.",
                why=f"lengths {sorted(lengths)}, image shapes {sorted(map(str, shapes))}",
                fix="give equally many clean and protected images of one size, in the same order",
            )
        top = max((int(y.max()) for y in (self.clean_y, self.protected_y, self.test_y) if len(y)), default=-1)
        if top >= len(self.classes):
            raise DataError(f"Label {top} has no class name.", why=f"{len(self.classes)} names are given")

    @property
    def relabelled(self) -> float:
        """Share of items whose protected label is not the original's, class names of its own included."""
        changed = max(float(np.sum(self.clean_y != self.protected_y)), self.counts.get("changed_labels", 0.0))
        return changed / max(len(self.clean_y), 1)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every array (dtype, shape, bytes), by name."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "clean": self.clean_x,
            "protected": self.protected_x,
            "labels": np.stack([self.clean_y, self.protected_y]),
            "test": self.test_x,
            "test_labels": self.test_y,
        }
        return {name: content_id(array)[1] for name, array in arrays.items()}
