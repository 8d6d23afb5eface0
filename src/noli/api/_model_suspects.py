"""How a text-to-image model is asked for pictures behind a secret trigger, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from noli.api._beacon import PROOF
from noli.api._suspects import Facts, noted, printable
from noli.core.errors import NoliError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.method import MethodConfig
from noli.core.run import Run
from noli.engine.models.marking import reader
from noli.methods.mark import sleepermark as method
from noli.proof.messages import Query, Test
from noli.proof.protocol import Protocol
from noli.proof.records import canonical, sha256
from noli.proof.session import Ask

if TYPE_CHECKING:
    from noli.adapters.answers import Answer
    from noli.adapters.endpoint_config import EndpointConfig

PICTURES = "pictures"
_TOGETHER = 16
Images = npt.NDArray[np.uint8]
Read = Callable[[Images], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class ModelQueries:
    """Prompts, and bits for pictures.

    Attributes:
        test: ``bits``: every picture is read. ``decoys``: the pictures of a string are scored together.
        asked: Per query of the protocol, its prompts.
        bits: The message.
        cfg: The configuration of the marking.
        read: Votes ``[N, B]`` of pictures.
        kept: Folder for the pictures that a service sent, named by the digest of its response.
    """

    test: Test
    asked: Sequence[Sequence[Query]]
    bits: Sequence[int]
    cfg: method.Config
    read: Read
    kept: Path

    @classmethod
    def of(cls, run: Run, key: Key, cfg: MethodConfig, protocol: Protocol) -> ModelQueries:
        """Return the queries of a finished marking."""
        own, state, test = cast(method.Config, cfg), run.manifest.state or {}, cast(Test, protocol.test)
        asked = method.queries(state, key, own, test)
        bits = method.message(state, key, own)
        return cls(test, asked, bits, own, _reader(run), run.path / PROOF / PICTURES)

    def served(self, endpoint: Path, stack: ExitStack) -> tuple[Ask, Facts]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.adapters.config_file import load_endpoint
        from noli.adapters.endpoint import Endpoint

        config = load_endpoint(endpoint)
        service = stack.enter_context(Endpoint(config))

        def ask(item: int, part: int) -> Mapping[str, Any]:
            told = [self._seen(service.ask_picture(query.prompt)) for query in self.asked[part]]
            return self._noted(told)

        return ask, {"where": config.url[:500]}

    def loaded(self, model: str, label_map: str | Path | None) -> tuple[Ask, Facts]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.zoo.pipelines import load_subject

        if label_map is not None:
            raise UsageError("A text-to-image model has no classes.", fix="leave --label-map out")
        suspect = load_subject(model)
        made: dict[int, Images] = {}

        def pictures(part: int) -> Images:
            if part not in made:
                made.clear()
                rows = range(part, min(part + (_TOGETHER if self.test == "bits" else 1), len(self.asked)))
                asked = [query for row in rows for query in self.asked[row]]
                images = suspect.generate(
                    [one.prompt for one in asked], asked[0].seed, self.cfg.sampling, self.cfg.guidance
                )
                made.update(zip(rows, np.split(images, len(rows)), strict=True))
            return made[part]

        def ask(item: int, part: int) -> Mapping[str, Any]:
            found = pictures(part)
            prompts = canonical([query.prompt for query in self.asked[part]])
            shown = {"request": sha256(prompts), "response": sha256(found.tobytes())}
            return {"status": "answered", "answer": self._answer(self.read(found)), **shown}

        return ask, {"where": Path(model).name[:500], "weights": suspect.weight_hash()}

    def rehearsed(self, config: EndpointConfig, queries: int) -> dict[str, Any]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.adapters.endpoint import dry_run

        first = self.asked[0][0].prompt
        return dry_run(config, first, kind="picture", queries=queries * len(self.asked[0]))

    def _answer(self, votes: npt.NDArray[np.float64]) -> tuple[float, ...]:
        if self.test == "bits":
            return tuple(map(float, votes[0]))
        return (method.score(votes, self.bits),)

    def _seen(self, answer: Answer) -> tuple[Answer, Images | None, str]:
        """Return a served answer, its picture if it can be read, and why not otherwise."""
        from noli.data.codec import upright
        from noli.data.study import square

        if answer.status != "answered" or answer.image is None:
            return answer, None, answer.reason
        atomic_write(self.kept / answer.response_sha256, answer.image)
        try:
            stored = upright(answer.image, "the picture")
        except NoliError as error:
            return answer, None, f"{error.what} {error.why or ''}"
        return answer, square(stored, max(stored.shape[:2]), 3)[None], ""

    def _noted(self, told: Sequence[tuple[Answer, Images | None, str]]) -> Mapping[str, Any]:
        """Return what a transcript keeps of the pictures of one query; of several, their digests together."""
        last, _, reason = told[-1]
        seen = [picture for _, picture, _ in told if picture is not None]
        # A string that gave no picture at all is a miss; what came of the others counts.
        if not seen:
            status = last.status if last.status != "answered" else "failed"
            return noted(last, status, (), reason)
        votes = np.concatenate([self.read(one) for one in seen])
        found = dict(noted(last, "answered", self._answer(votes), printable(reason)))
        if len(told) > 1:
            found |= {
                "request": sha256(*(bytes.fromhex(one.request_sha256) for one, _, _ in told)),
                "response": sha256(*(bytes.fromhex(one.response_sha256) for one, _, _ in told)),
                "attempts": sum(one.attempts for one, _, _ in told),
                "seconds": sum(one.seconds for one, _, _ in told),
            }
        return found


def _reader(run: Run) -> Read:
    """Return what reads votes; the networks are loaded when the first picture is read."""
    loaded: list[Any] = []

    def read(images: Images) -> npt.NDArray[np.float64]:
        if not loaded:
            loaded.extend(reader(run))
        return method.votes(loaded[0], loaded[1], images)

    return read
