"""When a query must stop the work instead of counting as a miss: a wrong configuration, a spent budget."""

from __future__ import annotations

from noli.adapters.answers import Unreadable
from noli.adapters.endpoint_config import EndpointConfig
from noli.adapters.exchange import Reply, Trouble, elsewhere
from noli.core.errors import RunError, UsageError

# They may pass, or speak of one question only.
_PASSING = frozenset({408, 409, 425, 429})
_FIXES = {
    401: "check the credentials: a header as `Authorization: Bearer env:NAME`, and that variable",
    404: "check url: the path, the version in it, and the name of the model",
    405: "check method and url",
}
_SHAPE = "compare what a dry run shows with the documentation of the service"


class Misconfigured(UsageError):
    """The service cannot be asked in this way; found before any query was answered."""


class BudgetSpent(RunError):
    """All requests of the budget were made; this query was not sent."""


class BudgetShort(UsageError):
    """The budget does not reach for the test; nothing was sent."""


def refuse_short(config: EndpointConfig, requests: int) -> None:
    """Refuse a test that needs more requests than the budget has, before the first of them.

    Args:
        config: The endpoint.
        requests: How many the test needs at least, without further tries.

    Raises:
        BudgetShort: They are more than the budget.
    """
    if requests > config.budget:
        what = f"The test needs at least {requests} requests, and the budget is {config.budget}"
        raise BudgetShort(
            f"{what}; nothing was sent.",
            where=config.url,
            why="a test that stops halfway has spent its queries for nothing, and counts in the ledger",
            fix=f"set budget to {requests} or more in the description; further tries count, too",
        )


def spent(config: EndpointConfig) -> BudgetSpent:
    """Return the error for a query beyond the budget."""
    what = f"The budget of {config.budget} requests is spent; this query was not sent."
    fix = "raise budget in the configuration; a plan that was fixed beforehand must allow it"
    return BudgetSpent(what, where=config.url, fix=fix)


def of_shape(config: EndpointConfig, error: Unreadable) -> Misconfigured:
    """Return the error for a response that cannot be read as configured."""
    where = f"{config.url}, {error.where}" if error.where else config.url
    return Misconfigured(error.what, where=where, why=error.why, fix=error.fix)


def of_status(config: EndpointConfig, reply: Reply, said: str) -> Misconfigured | None:
    """Return the error for a status that no further query will change, or None."""
    if target := elsewhere(config.url, reply):
        fix = "if that address belongs to the service, give the final one as url"
        what = "The service redirects, and that was not followed."
        return Misconfigured(what, where=config.url, why=f"to {target}", fix=fix)
    if not 400 <= reply.status < 500 or reply.status in {*_PASSING, *config.retry_statuses}:
        return None
    what = f"The service answers HTTP {reply.status}."
    return Misconfigured(what, where=config.url, why=said or None, fix=_FIXES.get(reply.status, _SHAPE))


def of_trouble(config: EndpointConfig, trouble: Trouble) -> RunError:
    """Return the error for a service that was never reached."""
    fix = "check url, the network and the proxy; for a certificate of your own authority set ca_file"
    return RunError("The service cannot be reached.", where=config.url, why=trouble.reason, fix=fix)
