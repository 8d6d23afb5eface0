"""How a language model is asked about the variants of released passages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noli.api._bodies import Keep
from noli.api._mark_texts import record_of
from noli.api._suspects import Facts, noted, place_of
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.language import Tokens
from noli.core.run import Run
from noli.engine.texts.claims import variants_of
from noli.engine.texts.queries import Variant, chosen, questions
from noli.ops import membership
from noli.proof.records import canonical, sha256
from noli.proof.releases import Ask as Asked
from noli.proof.session import Ask

if TYPE_CHECKING:
    from noli.adapters.endpoint_config import EndpointConfig

_NO_TOKENS = "no token of the text was scored"
_DEEPEST = 1e6  # log probabilities beyond it are no model's
_WORDS = 16  # tokens that an answer in words may take
_AHEAD = 200  # passages whose scores are kept


def text_queries(run: Run, key: Key) -> TextQueries:
    """Return the queries of a finished marking of texts."""
    record, cfg = record_of(run, key)
    return TextQueries(cfg.ask, variants_of(record.ordered, key, cfg))


def score(tokens: Tokens) -> float | None:
    """Return a variant's score, its mean log probability per token; None where there is none to be had."""
    if not len(tokens) or not np.abs(tokens.logp).max() <= _DEEPEST:
        return None
    return membership.loss(tokens.logp)


@dataclass(frozen=True)
class TextQueries:
    """Variants of passages, and scores or numbers for answers.

    Attributes:
        asked: What the protocol asks.
        groups: All variants of every passage.
    """

    asked: Asked
    groups: Sequence[Sequence[Variant]]

    @property
    def requests(self) -> int:
        """One."""
        return 1

    def served(self, endpoint: Path, stack: ExitStack, keep: Keep | None) -> tuple[Ask, Facts]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.adapters.config_file import load_endpoint
        from noli.adapters.endpoint import Endpoint
        from noli.adapters.language import ServedLanguage

        config = load_endpoint(endpoint)
        service = stack.enter_context(Endpoint(config, keep=keep))
        language = ServedLanguage(service)

        def scored(item: int, part: int) -> Mapping[str, Any]:
            told = language.score_text(self.groups[item][part].text)
            found = score(told.tokens) if told.tokens is not None else None
            if told.status == "answered" and found is None:
                return noted(told.answer, "failed", (), _NO_TOKENS)
            return noted(told.answer, told.status, () if found is None else (found,), told.reason)

        def answered(item: int, part: int) -> Mapping[str, Any]:
            group = self.groups[item]
            told = service.ask_text(questions(self.asked, group)[part], max_tokens=_WORDS)
            if told.status != "answered":
                return noted(told, told.status, (), told.reason)
            number = chosen(self.asked, told.text, group)
            # An answer that names no variant is an answer, and a miss.
            return noted(told, "answered", (-1.0 if number is None else float(number),), told.reason)

        return scored if self.asked == "scores" else answered, {"where": place_of(config)}

    def loaded(self, model: str, label_map: str | Path | None) -> tuple[Ask, Facts]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.zoo.language import load_language

        if label_map is not None:
            raise UsageError("A language model has no classes.", fix="leave --label-map out")
        language = load_language(model)
        scores = self._scores(lambda texts: [score(one) for one in language.score_tokens(texts)])

        def ask(item: int, part: int) -> Mapping[str, Any]:
            asked, told = questions(self.asked, self.groups[item])[part], scores(item)
            shown = {"request": sha256(asked.encode()), "response": sha256(canonical(told))}
            if None in told:
                return {"status": "failed", "reason": _NO_TOKENS, **shown}
            found = [one for one in told if one is not None]
            # Asked for one of several texts, a model that cannot talk names the one it finds likeliest.
            answer = found[part] if self.asked == "scores" else float(found.index(max(found)))
            return {"status": "answered", "answer": (answer,), **shown}

        return ask, {"where": Path(model).name[:500], "weights": language.digest}

    def rehearsed(self, config: EndpointConfig, queries: int) -> dict[str, Any]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.adapters.endpoint import dry_run

        first, scored = questions(self.asked, self.groups[0])[0], self.asked == "scores"
        tokens = 0 if scored else _WORDS
        return dry_run(
            config, first, kind="text", queries=queries, max_tokens=tokens, logprobs=scored, echo=scored
        )

    def _scores(
        self, scored: Callable[[list[str]], list[float | None]]
    ) -> Callable[[int], list[float | None]]:
        """Return the scores of all variants of a passage, computed together and kept for a while."""
        kept: dict[int, list[float | None]] = {}

        def of(item: int) -> list[float | None]:
            if item not in kept:
                if len(kept) >= _AHEAD:
                    kept.clear()
                kept[item] = scored([one.text for one in self.groups[item]])
            return kept[item]

        return of
