"""How a suspect is asked what was committed: pictures here, texts in :mod:`noli.api._text_suspects`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from noli import registry
from noli.api._bodies import Keep
from noli.api._mark import config_of
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.method import Spec
from noli.core.run import Run
from noli.proof.protocol import Protocol as Claimed
from noli.proof.records import canonical, sha256
from noli.proof.session import Ask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from noli.adapters.answers import Answer
    from noli.adapters.endpoint_config import EndpointConfig
    from noli.core.model import Model

Facts = dict[str, Any]
Pictures = Sequence[Sequence["npt.NDArray[np.uint8]"]]
_KEPT = 200


class Queries(Protocol):
    """All that may be asked about one marking."""

    @property
    def requests(self) -> int:
        """Requests to a served model per query, without further tries."""

    def served(self, endpoint: Path, stack: ExitStack, keep: Keep | None) -> tuple[Ask, Facts]:
        """Return how a served model is asked, and what the claim says of it; `keep` gets all bodies."""

    def loaded(self, model: str, label_map: str | Path | None) -> tuple[Ask, Facts]:
        """Return the same for a model that lies here."""

    def rehearsed(self, config: EndpointConfig, queries: int) -> dict[str, Any]:
        """Return what the first request would be."""


def queries_of(run: Run, spec: Spec, key: Key, protocol: Claimed) -> Queries:
    """Return the queries of a finished marking."""
    if spec.arrow == "texts->texts":
        from noli.api._text_suspects import text_queries

        return text_queries(run, key)
    if spec.arrow == "model->model":
        from noli.api._model_suspects import ModelQueries

        return ModelQueries.of(run, key, config_of(run, spec), protocol)
    made = registry.module(spec.name).pictures(run.manifest.state, key, config_of(run, spec))
    return PictureQueries(made, protocol)


def noted(answer: Answer, status: str, found: tuple[str | float, ...], reason: str) -> Mapping[str, Any]:
    """Return what a transcript keeps of a served answer."""
    return {
        "status": status,
        "time": answer.time,
        "answer": tuple(printable(one) if isinstance(one, str) else one for one in found),
        "request": answer.request_sha256,
        "response": answer.response_sha256,
        "seconds": answer.seconds,
        "attempts": answer.attempts,
        "certificate": answer.certificate_sha256,
        "reason": printable(reason),
    }


_ASKED = {
    "method", "style", "model", "question", "extra", "headers", "query", "body", "response_path",
    "tokens_path", "logprobs_path", "label_field", "score_field", "classes", "top", "refusals",
}  # fmt: skip


def place_of(config: EndpointConfig) -> str:
    """Return who is asked, in words: the address, the model's name, and a digest of how it is asked.

    One address may serve many models; the answers of one must never be taken for another's.
    """
    asked = sha256(canonical(config.model_dump(mode="json", include=_ASKED)))[:12]
    named = f"model {config.model}, " if config.model else ""
    return f"{config.url[:300]} ({named[:150]}request {asked})"


def printable(text: str) -> str:
    """Return foreign text as it can be written down: whole characters, and not more of it than is of use."""
    return text.encode("utf-8", "replace").decode("utf-8")[:_KEPT]


@dataclass(frozen=True)
class PictureQueries:
    """Pictures, and classes for answers.

    Attributes:
        pictures: Those of every secret.
        protocol: The claim, which names the classes.
    """

    pictures: Pictures
    protocol: Claimed

    @property
    def requests(self) -> int:
        """One."""
        return 1

    def served(self, endpoint: Path, stack: ExitStack, keep: Keep | None) -> tuple[Ask, Facts]:
        """As :class:`Queries` says."""
        from noli.adapters.config_file import load_endpoint
        from noli.adapters.endpoint import Endpoint

        config = load_endpoint(endpoint)
        service = stack.enter_context(Endpoint(config, keep=keep))
        known = _map(config.label_map or {}, self.protocol) or _numbered(config.classes, self.protocol)

        def ask(item: int, part: int) -> Mapping[str, Any]:
            found = service.ask_image(self.pictures[item][part])
            labels = found.labels if found.status == "answered" else ()
            return noted(found, found.status, labels, found.reason)

        return ask, {"where": place_of(config), "label_map": known}

    def loaded(self, model: str, label_map: str | Path | None) -> tuple[Ask, Facts]:
        """As :class:`Queries` says."""
        from noli import zoo
        from noli.adapters.config_file import load_label_map

        network = zoo.load(model)
        known = _map(load_label_map(Path(label_map)) if label_map is not None else {}, self.protocol)
        classes = tuple(self.protocol.parameters["classes"])
        names, k = network.class_names or classes, int(self.protocol.parameters["k"])
        if not {one for name in names for one in known.get(name, (name,))} & set(classes):
            raise UsageError(
                "The model knows none of the marked classes.",
                where=model,
                why=f"it names {', '.join(names[:5])}, and the data {', '.join(classes[:5])}",
                fix="say with --label-map what its classes are called in the data",
            )

        def ask(item: int, part: int) -> Mapping[str, Any]:
            picture = self.pictures[item][part]
            order = _logits(network, picture).argsort()[::-1][:k]
            named = [names[place] for place in order]
            answer = tuple(dict.fromkeys(one for name in named for one in known.get(name, (name,))))
            asked, shown = sha256(picture.tobytes()), sha256(canonical(named))
            return {"status": "answered", "answer": answer, "request": asked, "response": shown}

        facts = {"where": Path(model).name[:500], "weights": network.weight_hash(), "label_map": known}
        return ask, facts

    def rehearsed(self, config: EndpointConfig, queries: int) -> dict[str, Any]:
        """As :class:`Queries` says."""
        from noli.adapters.endpoint import dry_run

        return dry_run(config, self.pictures[0][0], queries=queries)


def _numbered(classes: Sequence[str], protocol: Claimed) -> dict[str, tuple[str, ...]]:
    """Return which of a service's numbers are taken for classes of the data: a label map as any other."""
    own = set(protocol.parameters["classes"])
    return {f"{i}": (name,) for i, name in enumerate(classes) if name in own}


def _map(given: Mapping[str, Sequence[str]], protocol: Claimed) -> dict[str, tuple[str, ...]]:
    """Return a label map that leads to classes of the data only."""
    known = {name: tuple(own) for name, own in given.items()}
    strange = sorted({one for own in known.values() for one in own} - set(protocol.parameters["classes"]))
    if strange:
        raise UsageError(
            "The label map leads to classes that the data does not have.",
            where=", ".join(strange[:5]),
            fix="write the names of the data's classes on its right side",
        )
    return known


def _logits(network: Model, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    logits: npt.NDArray[np.float32] = network.predict(picture[None])[0]
    return logits
