"""How a text-to-image model is asked for pictures behind a secret trigger, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from noli.api._beacon import PROOF
from noli.api._bodies import Keep
from noli.api._suspects import Facts, noted, place_of
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
_LARGEST = 16_384  # pixels of a side; beyond, a picture of a kilobyte may ask for gigabytes
_STATUS = re.compile(r"HTTP \d{3}")
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
        kept: Folder for the pictures that a service sent, named by test, query, number and digest.
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

    @property
    def requests(self) -> int:
        """One per picture of a string."""
        return len(self.asked[0])

    def served(self, endpoint: Path, stack: ExitStack, keep: Keep | None) -> tuple[Ask, Facts]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.adapters.config_file import load_endpoint
        from noli.adapters.endpoint import Endpoint

        if keep is not None:
            raise UsageError(
                "The bodies of these queries are not handed over.",
                why="the requests would give the trigger away",
                fix=f"leave --bodies out; the pictures are kept in {self.kept}",
            )
        config = load_endpoint(endpoint)
        service = stack.enter_context(Endpoint(config))

        def ask(item: int, part: int) -> Mapping[str, Any]:
            told = []
            for number, query in enumerate(self.asked[part]):
                answer = service.ask_picture(query.prompt)
                answer = replace(answer, reason=_own_words(answer))
                told.append(self._seen(answer, f"{self.test}-{part:05d}-{number:03d}"))
            return self._noted(told)

        return ask, {"where": place_of(config)}

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

        how = f"{self.cfg.sampling} steps, guidance {self.cfg.guidance:g}"
        weights = sha256(bytes.fromhex(suspect.weight_hash()), bytes.fromhex(suspect.coder_hash()))
        return ask, {"where": f"{Path(model).resolve().name[:400]} ({how})", "weights": weights}

    def rehearsed(self, config: EndpointConfig, queries: int) -> dict[str, Any]:
        """As :class:`noli.api._suspects.Queries` says."""
        from noli.adapters.endpoint import dry_run

        first = self.asked[0][0].prompt
        return dry_run(config, first, kind="picture", queries=queries * self.requests)

    def _answer(self, votes: npt.NDArray[np.float64]) -> tuple[float, ...]:
        if self.test == "bits":
            return tuple(map(float, votes[0]))
        return (method.score(votes, self.bits),)

    def _seen(self, answer: Answer, name: str) -> tuple[Answer, Images | None, str]:
        """Return a served answer, its picture if it can be read, and why not otherwise.

        The answer has the digest of the picture instead of that of the response around it, so that the
        picture that is kept can be shown to be the one that was read.
        """
        from noli.core.images import to_float, to_uint8
        from noli.data.codec import upright

        if answer.status != "answered" or answer.image is None:
            return answer, None, answer.reason
        digest = sha256(answer.image)
        atomic_write(self.kept / f"{name}-{digest[:16]}", answer.image)
        answer = replace(answer, response_sha256=digest)
        try:
            stored = upright(answer.image or b"", "the picture")
        except NoliError as error:
            return answer, None, f"{error.what} {error.why or ''}"
        if max(stored.shape[:2]) > _LARGEST:
            return answer, None, f"it is {stored.shape[1]} x {stored.shape[0]} pixels"
        small = stored if stored.dtype == np.uint8 else to_uint8(to_float(stored[None]))[0]
        return answer, np.repeat(small, 3, axis=2)[None] if small.shape[2] == 1 else small[None], ""

    def _noted(self, told: Sequence[tuple[Answer, Images | None, str]]) -> Mapping[str, Any]:
        """Return what a transcript keeps of the pictures of one query; of several, their digests together."""
        last = told[-1][0]
        seen = [picture for _, picture, _ in told if picture is not None]
        # A string of which one picture is missing is a miss: whoever may leave one out leaves out the worst.
        if len(seen) < len(told):
            bad, _, reason = next(one for one in told if one[1] is None)
            return noted(bad, bad.status if bad.status != "answered" else "failed", (), reason)
        votes = np.concatenate([self.read(one) for one in seen])
        found = dict(noted(last, "answered", self._answer(votes), ""))
        if len(told) > 1:
            found |= {
                "request": sha256(*(bytes.fromhex(one.request_sha256) for one, _, _ in told)),
                "response": sha256(*(bytes.fromhex(one.response_sha256) for one, _, _ in told)),
                "attempts": sum(one.attempts for one, _, _ in told),
                "seconds": sum(one.seconds for one, _, _ in told),
            }
        return found


def _own_words(answer: Answer) -> str:
    """Return why there was no picture, without the service's words: they may repeat parts of the trigger."""
    if answer.status == "refused":
        return "declined by the service"
    status = _STATUS.match(answer.reason)
    return status[0] if status else answer.reason.partition("(")[0].partition(":")[0].strip()


def _reader(run: Run) -> Read:
    """Return what reads votes; the networks are loaded when the first picture is read."""
    loaded: list[Any] = []

    def read(images: Images) -> npt.NDArray[np.float64]:
        if not loaded:
            loaded.extend(reader(run))
        return method.votes(loaded[0], loaded[1], images)

    return read
