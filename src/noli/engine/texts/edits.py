"""Which words of a collection are replaced: by the released variants, or as the paper fixes them."""

from __future__ import annotations

from collections.abc import Sequence

from noli.data.documents import Edit
from noli.engine.texts.claims import Passages, count_of
from noli.engine.texts.drafts import Drafts, TextRequest
from noli.methods.mark import leximark
from noli.proof import releases

# Of every text: name of its document, its number there.
Edits = dict[tuple[str, int], list[Edit]]


def drawn_edits(
    request: TextRequest, numbers: Sequence[int], passages: Passages, everything: Drafts
) -> Edits:
    """Return the edits that make every passage its released variant.

    Args:
        request: The marking.
        numbers: Of the released variants, in the order of the passages.
        passages: In the order of the secrets.
        everything: Where they stand.
    """
    drawn = {}
    for (_, passage), number in zip(passages, numbers, strict=True):
        drawn[passage.id] = releases.variants(passage, request.key, count_of(request.cfg))[number]
    edits: Edits = {}
    for draft, *_ in everything:
        own = edits.setdefault((draft.name, draft.number), [])
        for start, passage in draft.passages:
            for place, pick in zip(passage.places, drawn[passage.id], strict=True):
                if pick:  # number 0 is the word that stands there
                    own.append(Edit(start + place.start, start + place.end, place.words[pick]))
    return edits


def published_edits(everything: Drafts) -> Edits:
    """Return the edits of the published mode."""
    dictionary: dict[str, str] = {}
    return {
        (draft.name, draft.number): [
            Edit(slot.start, slot.end, word)
            for slot, word in zip(draft.slots, leximark.published(draft.slots, dictionary), strict=True)
        ]
        for draft, *_ in everything
    }
