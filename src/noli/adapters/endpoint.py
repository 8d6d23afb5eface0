"""A served model that is asked questions: politely, within a budget, and with a record of every answer.

A query that is refused or fails is an answer too, and counts as a miss. Only what no query can get past stops
the work: a wrong configuration, noticed before anything was answered, and a spent budget.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from noli.adapters import answers, faults
from noli.adapters.answers import Answer, Unreadable
from noli.adapters.course import Course
from noli.adapters.credentials import plain, resolve, wiped_answer, wiped_error
from noli.adapters.endpoint_config import EndpointConfig
from noli.adapters.exchange import Reply, Trouble, redirected
from noli.adapters.faults import BudgetSpent, Misconfigured
from noli.adapters.pacing import Pacer, retry_after, utc
from noli.adapters.rehearsal import dry_run
from noli.adapters.request import Ask, Image, Prepared, prepare
from noli.core.errors import MissingPrerequisite, NoliError, UsageError

if TYPE_CHECKING:
    from noli.adapters.wire import Wire

__all__ = ["Answer", "BudgetSpent", "Endpoint", "EndpointConfig", "Misconfigured", "dry_run"]

_HOPS = 3  # redirects within the service that one query may take
_KEPT = 1000  # unknown labels: a service can invent them without end


class _Failed(Exception):
    """A query without a usable reply; `problem` when no further query will end better."""

    def __init__(self, reason: str, problem: NoliError | None) -> None:
        super().__init__(reason)
        self.reason, self.problem = reason, problem


class Endpoint:
    """A served model. Use it in a `with` block, from one thread.

    Args:
        config: Where it is, and how it is asked.
        clock: Seconds of a clock that never goes back.
        sleep: Waits a number of seconds.
        now: Seconds since 1970, for the times in answers and for ``Retry-After``.
        keep: Gets the bodies whose digests are in answers: the request, and the response unless the service
            repeated a secret in it.
    """

    def __init__(
        self,
        config: EndpointConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
        keep: Callable[[bytes], None] | None = None,
    ) -> None:
        self.config, self._keep = config, keep
        self._clock, self._now = clock, now
        self._pacer = Pacer(config.rate, config.jitter, clock, sleep)
        self._wire: Wire | None = None
        self._spent = 0
        self._heard = False  # whether the service ever replied
        self._worked = False  # whether a query was ever answered or refused
        self._unknown: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Return itself; the connection is made by the first query."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    @property
    def spent(self) -> int:
        """Requests made so far, further tries and redirects included."""
        return self._spent

    @property
    def unknown(self) -> dict[str, int]:
        """Labels that the label map (or the list of classes) does not know, and how often each came."""
        return dict(self._unknown)

    def ask_image(self, image: Image) -> Answer:
        """Ask which labels an image has.

        Args:
            image: ``uint8 [H, W, C]``, C in {1, 3}.

        Raises:
            Misconfigured: The service cannot be asked in this way.
            UsageError: The endpoint has no place for an image, or an environment variable is missing.
            BudgetSpent: No request is left; nothing was sent.
            RunError: The service was never reached.
            DataError: Not an image.
        """
        return self._query(Ask("image", image, self.config.question))

    def ask_text(
        self, prompt: str, *, max_tokens: int = 16, logprobs: bool = False, echo: bool = False
    ) -> Answer:
        """Ask how a text goes on.

        Args:
            prompt: The text.
            max_tokens: Longest completion in tokens, 0 or more (0 makes sense with `echo`).
            logprobs: Whether log probabilities of the tokens are wanted.
            echo: Whether those of the prompt's own tokens are wanted as well; the text then begins with the
                prompt. Not for chats.

        Raises:
            NoliError: As :meth:`ask_image`.
        """
        if max_tokens < 0:
            raise UsageError("max_tokens must be 0 or more.", where=f"max_tokens={max_tokens}")
        return self._query(Ask("text", None, prompt, max_tokens, logprobs, echo))

    def ask_picture(self, prompt: str) -> Answer:
        """Ask for a picture of what a text says.

        Raises:
            NoliError: As :meth:`ask_image`.
        """
        return self._query(Ask("picture", None, prompt))

    def _query(self, ask: Ask) -> Answer:
        prepared = prepare(self.config, ask)
        if self._spent >= self.config.budget:
            raise faults.spent(self.config)
        course = self._exchange(prepared)
        if self._keep is not None:
            for body in course.bodies(prepared.body):
                self._keep(body)
        try:
            return self._answer(ask, prepared, course)
        except NoliError as error:
            raise wiped_error(error, course.secrets) from None

    def _exchange(self, prepared: Prepared) -> Course:
        """Send one query, again where that may help, until it has an outcome."""
        course = Course(self.config.url)
        while self._spent < self.config.budget:
            self._send(prepared, course)
            if course.reply is not None and (said := answers.refusal(self.config, course.reply)):
                course.refused = said
                return course
            if not self._again(course):
                return course
        course.broke = True
        return course

    def _send(self, prepared: Prepared, course: Course) -> None:
        wire = self._open()
        secret_headers, one = resolve(prepared.secret_headers)
        secret_query, two = resolve(prepared.secret_query)
        course.secrets |= one | two
        # A redirect names its query itself.
        query: Mapping[str, str] = {} if course.hops else {**prepared.query, **secret_query}
        headers = {**prepared.headers, **secret_headers}
        self._pacer.turn()
        self._spent += 1
        course.attempts += 1
        course.reply = course.trouble = None
        course.time, began = utc(self._now()), self._clock()
        try:
            course.reply = wire.send(self.config.method, course.url, query, headers, prepared.body)
            self._heard = True
        except Trouble as trouble:
            course.trouble = trouble
            self._heard = self._heard or not trouble.nobody
        course.seconds = self._clock() - began

    def _open(self) -> Wire:
        if self._wire is None:
            try:
                from noli.adapters.wire import Wire
            except ImportError as error:
                what, fix = "The HTTP library is not installed.", "pip install httpx"
                raise MissingPrerequisite(what, why=str(error), fix=fix) from error
            config = self.config
            self._wire = Wire(config.url, config.timeout, config.max_bytes, config.ca_file, self._clock)
        return self._wire

    def _again(self, course: Course) -> bool:
        """Tell whether a query is sent once more; if so, the pause before it has passed."""
        config, reply = self.config, course.reply
        if reply is not None and (target := redirected(config.method, course.url, reply)):
            course.url, course.hops = target, course.hops + 1
            return course.hops <= _HOPS
        passing = course.trouble.again if course.trouble else reply and reply.status in config.retry_statuses
        if not passing or course.failures >= config.retries:
            return False
        course.failures += 1
        asked = retry_after(reply.headers, self._now()) if reply else None
        pause = config.backoff * 2.0 ** (course.failures - 1) if asked is None else asked
        if self._spent < config.budget:
            self._pacer.pause(pause, config.max_wait, exact=asked is not None)
        return True

    def _answer(self, ask: Ask, prepared: Prepared, course: Course) -> Answer:
        """Judge how a query ended.

        Raises:
            NoliError: No further query will end better, and none was answered before.
        """
        facts = course.facts(prepared.body)
        if course.refused:
            self._worked = True
            return Answer("refused", reason=plain(course.refused, course.secrets), **facts)
        unknown: Counter[str] = Counter()
        try:
            found = answers.read(self.config, ask, self._good(course), unknown)
        except Unreadable as error:
            problem: NoliError | None = faults.of_shape(self.config, error)
            reason = f"{error.what} ({error.why})"
        except _Failed as failed:
            problem, reason = failed.problem, failed.reason
        else:
            self._worked = True
            self._count(unknown, course.secrets)
            return Answer("answered", **wiped_answer(found, course.secrets), **facts)
        if problem is not None and not self._worked:
            raise problem
        reason = plain(reason, course.secrets) + ("; the budget is spent" if course.broke else "")
        return Answer("failed", reason=reason, **facts)

    def _good(self, course: Course) -> Reply:
        """Return the reply when its status is good.

        Raises:
            _Failed: There is none.
        """
        reply = course.reply
        if reply is None:
            trouble = course.trouble or Trouble("nothing was sent", again=False)
            raise _Failed(trouble.reason, None if self._heard else faults.of_trouble(self.config, trouble))
        if 200 <= reply.status < 300:
            return reply
        said = plain(answers.words(reply), course.secrets)
        problem = faults.of_status(self.config, reply, said)
        raise _Failed(f"HTTP {reply.status}: {said}".removesuffix(": "), problem)

    def _count(self, unknown: Counter[str], secrets: frozenset[str]) -> None:
        for label, times in unknown.items():
            label = plain(label, secrets)
            room = label in self._unknown or len(self._unknown) < _KEPT
            self._unknown[label if room else "(further labels)"] += times
