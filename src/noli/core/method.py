"""What a method is: a card, a Config, and pure functions in one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from noli.core.dataset import Item
from noli.core.images import Working
from noli.core.key import Key

Family = Literal["protect", "mark", "lock", "attack", "unlearn", "harden", "generate", "evaluate", "verify"]
Arrow = Literal["data->data", "data->codes", "texts->texts", "model->model", "model->models", "judge"]
Codes = dict[str, npt.NDArray[Any]]
State = dict[str, Any]
Extra = dict[str, float]
Apply = Callable[[State, Working, Sequence[Item], Key, Any], Working]
Invert = Callable[[State, Working, Sequence[Item], Key, Any, Sequence[Extra]], Working]
# Under this name the state that `apply` gets says where the files of `prepare` lie (never in the manifest).
FOLDER = "folder"


class MethodConfig(BaseModel):
    """Base of every method's Config: frozen, unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Card:
    """What a user must know before using a method.

    Attributes:
        title: Full name.
        paper: Citation in one line, with the arXiv id.
        stops: What it stops, one sentence each.
        does_not_stop: What it does not stop, one sentence each.
        bibtex: Citation entry, or an empty string.
    """

    title: str
    paper: str
    stops: tuple[str, ...]
    does_not_stop: tuple[str, ...]
    bibtex: str = ""


@dataclass(frozen=True)
class Spec:
    """A registry entry once its module is loaded.

    Attributes:
        name: ``family/method``, or ``package/name`` for plug-ins.
        family: Verb group.
        arrow: Kind of pure core.
        config: Config class; its fields are the CLI flags, the YAML and the manifest.
        card: Facts for `explain`, the docs and the report.
        needs: Subset of ``{"key", "labels", "text", "color", "data", "metadata"}``; with ``data``, `prepare`
            gets a :class:`Study` and may keep files; with ``metadata``, too, but no picture can be read.
        reversible: Whether the module has ``invert``.
        options: Config fields shown as CLI options of their own (the rest through ``--set``).
        module: The module that holds the pure functions.
        trial: Options under which the contract suite tries a method that is expensive by default.
        reshapes: Whether `apply` may change the size of a picture (to whole blocks) or make it grey; then
            `extras` says what it was, `invert` gives that back, and alpha goes through both as a picture of
            its own. The state then says ``bits`` (8 or 16), and ``{"plane": "alpha"}`` for alpha.
    """

    name: str
    family: Family
    arrow: Arrow
    config: type[MethodConfig]
    card: Card
    needs: frozenset[str] = frozenset()
    reversible: bool = False
    options: tuple[str, ...] = ()
    module: str = ""
    trial: Mapping[str, object] = field(default_factory=dict)
    reshapes: bool = False

    @property
    def studies(self) -> bool:
        """Whether `prepare` gets a :class:`Study` and may keep files."""
        return not self.needs.isdisjoint(("data", "metadata"))

    @property
    def sees(self) -> bool:
        """Whether that study shows the pictures."""
        return "data" in self.needs


class DataMethod(Protocol):
    """The functions of a data -> data method module."""

    SPEC: Spec

    def prepare(self, summary: DataSummary, key: Key, cfg: Any, previous: State | None = None) -> State:
        """Do the expensive part once.

        Args:
            summary: What is known of the whole data set after the scan.
            key: Owner's key.
            cfg: The method's Config.
            previous: State of the run that is being extended; what it fixes must not change.

        Returns:
            A JSON-serialisable dict without secrets (it is written into the manifest).
        """

    def apply(self, state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any) -> Working:
        """Transform working images ``[N, C, H, W]``; pure, per item, independent of order and batching."""

    def invert(
        self,
        state: State,
        batch: Working,
        items: Sequence[Item],
        key: Key,
        cfg: Any,
        extras: Sequence[Extra],
    ) -> Working:
        """Undo :meth:`apply` as far as possible (only when ``SPEC.reversible``)."""

    def extras(self, state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any) -> list[Extra]:
        """Per-item numbers that ``invert`` needs and that are not secret (may be empty dicts)."""


class Pictures(Protocol):
    """A data set as methods of the arrow ``data->codes`` see it: pictures of one size, in a fixed order."""

    @property
    def items(self) -> Sequence[Item]:
        """What is known of every picture."""

    @property
    def channels(self) -> int:
        """1 where all are grey, else 3."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted names of the classes; empty without labels."""

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """Class of every picture as a place in `classes`; None unless all have one."""

    @property
    def public(self) -> Pictures | None:
        """Public pictures of the same size, where the Config names some as ``public``; else None."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        """Return a picture, ``uint8 [side, side, channels]``."""


class Coder(Protocol):
    """What a method of the arrow ``data->codes`` makes once per run: its function ``coder`` returns it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the codes of one picture."""

    def __call__(self, pictures: Pictures, numbers: Sequence[int]) -> Codes:
        """Return arrays by name, one row per picture; they depend on key and pictures only."""


class CodesMethod(Protocol):
    """The functions of a data -> codes method module; its Config has ``side``."""

    SPEC: Spec

    def coder(self, pictures: Pictures, key: Key, cfg: Any) -> Coder:
        """Check that it can be done, and return what encodes the pictures."""


class Study(Protocol):
    """The data set itself, for methods whose `prepare` learns from it."""

    @property
    def items(self) -> Sequence[Item]:
        """All usable items; those of an earlier run that is being extended come first."""

    @property
    def shapes(self) -> Sequence[tuple[int, int, int]]:
        """Height, width and channels of every item's picture as it is stored."""

    @property
    def folder(self) -> Path:
        """Where `prepare` keeps its files; they stay with the run, and nothing else lies there."""

    def images(self, side: int) -> npt.NDArray[np.uint8]:
        """Return all images, squeezed to squares: ``uint8 [N, side, side, C]``, C = 3 if any has colour.

        Raises:
            UsageError: The method only needs ``metadata``.
        """

    def tell(self, done: int, total: int, what: str) -> None:
        """Report progress."""


@dataclass(frozen=True)
class DataSummary:
    """What the pre-flight scan learned about a data set.

    Attributes:
        items: Number of usable items.
        classes: Class names in sorted order (empty without labels).
        shapes: ``(H, W, C)`` -> count for the most frequent shapes (at most 64 of them).
        uri: Where the data lies.
        study: The data itself, for methods that need it.
    """

    items: int
    classes: tuple[str, ...]
    shapes: dict[tuple[int, int, int], int]
    uri: str = ""
    study: Study | None = field(default=None, compare=False, repr=False)
