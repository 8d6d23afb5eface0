"""What may vary in a collection of texts: the request, the places of every text, and the passages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from noli.core.errors import UsageError
from noli.data.documents import TextFile
from noli.engine.request import ErrorPolicy, JobRequest
from noli.engine.texts.collection import Collection, layout_of
from noli.engine.texts.queries import CLOSE, OPEN, complete
from noli.methods.mark import leximark
from noli.methods.mark.leximark import Config
from noli.ops.lexicon import Predict, Slot
from noli.proof.releases import Passage

Approve = Callable[[str, int, list[Slot]], list[Slot]]


@dataclass(frozen=True)
class TextRequest(JobRequest):
    """One job.

    Attributes:
        approve: Takes away places that the owner does not want: file, number of the text, places -> places.
        approved: Digest of what it allows; empty where it allows everything.
        on_error: ``fail`` refuses documents that cannot be read before any work, ``skip`` leaves them out.
    """

    approve: Approve = field(default=lambda name, number, slots: slots)
    approved: str = ""
    on_error: ErrorPolicy = "fail"

    def __post_init__(self) -> None:
        if self.on_error not in get_args(ErrorPolicy):
            fix = f"use one of {', '.join(get_args(ErrorPolicy))}"
            raise UsageError("on_error has no such value.", where=repr(self.on_error), fix=fix)

    def collection(self) -> Collection:
        """Return the documents that can be read.

        Raises:
            DataError: Some cannot, and they are not to be left out; or none can.
        """
        return Collection.find(self.source).readable(self.cfg.field, self.on_error)

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output."""
        return {**super().resolved(), "approved": self.approved}


@dataclass(frozen=True)
class Draft:
    """One text of a document with what may vary in it."""

    name: str
    number: int
    slots: list[Slot]
    passages: list[tuple[int, Passage]]
    words: int


Drafts = Sequence[tuple[Draft, TextFile, bytes]]


def drafts(request: TextRequest, found: Collection) -> Iterable[tuple[Draft, TextFile, bytes]]:
    """Find the places of all texts, document by document."""
    embed, predict = _encoder(request.cfg), _predictor(request.cfg)
    request.progress.start(len(found.texts), "find words")
    for name, data, document in found.open(request.cfg.field):
        for number, text in enumerate(document.texts):
            slots = leximark.propose(text.prose, request.cfg, embed, predict=predict)
            slots = request.approve(name, number, slots)
            if OPEN in text.raw or CLOSE in text.raw:
                slots = []
            cut = leximark.passages(text.prose, text.raw, slots, request.cfg)
            cut = [(start, one) for start, one in cut if complete(layout_of(name), one)]
            yield Draft(name, number, slots, cut, len(text.prose.split())), document, data
        if not document.texts:
            yield Draft(name, -1, [], [], 0), document, data
        request.progress.advance(1)
    request.progress.finish()


def _encoder(cfg: Config) -> leximark.Embed | None:
    if cfg.encoder == "none":
        return None
    from noli.zoo.text import load_text

    return load_text(cfg.encoder)


def _predictor(cfg: Config) -> Predict | None:
    if cfg.source == "wordnet":
        return None
    from noli.zoo.masked import load_masked

    return load_masked(Path(cfg.source)).predict


def ordered(everything: Drafts) -> list[tuple[str, Passage]]:
    """Return every different passage once, those with most places first."""
    unique = {one.id: (layout_of(draft.name), one) for draft, *_ in everything for _, one in draft.passages}
    return [unique[name] for name in sorted(unique, key=lambda name: (-len(unique[name][1].places), name))]
