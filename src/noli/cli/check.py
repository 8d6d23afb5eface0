"""``noli check BUNDLE.zip``: what a claim is worth, recomputed offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json

if TYPE_CHECKING:
    from noli.proof.check import Checked

_STYLES = {
    "valid": "bold green",
    "not significant": "bold yellow",
    "tampered": "bold red",
    "untimely": "bold red",
}
_MEANINGS = {
    "valid": "all figures follow from the records, and the secrets were fixed in time",
    "not significant": "nothing is wrong with the bundle, but it is no evidence",
    "tampered": "damaged, forged, or of another owner, so that nothing in it counts",
    "untimely": "the secrets may have been chosen to fit this model",
}
_NOT_SHOWN = (
    "It does not show who trained the model, nor that the owner drew the secrets at random: the page that "
    "--report writes has the whole list. The report inside the bundle is the owner's own text."
)
_ONLY_OWNER = (
    "Only the owner says since when the model exists: check it, and name a time with --suspect-since."
)
_SEEN_HELP = "You saw the published commitment by then."
_SINCE_HELP = "Since when the model exists, if you know better."
_REPORT_HELP = "Write the recomputed certificate to a new page."
Time = Annotated[str | None, Option(metavar="TIME", help=_SEEN_HELP)]
Since = Annotated[str | None, Option(metavar="TIME", help=_SINCE_HELP)]


def check(
    bundle: Annotated[Path, Argument(metavar="BUNDLE.zip", help="What the owner of the claim gave you.")],
    seen: Time = None,
    suspect_since: Since = None,
    roots: Annotated[
        Path | None, Option(metavar="FILE.pem", help="Time-stamping authorities that you trust.")
    ] = None,
    owner: Annotated[str | None, Option(metavar="HEX", help="Public key that the owner must have.")] = None,
    owner_clock: Annotated[bool, Option("--owner-clock", help="Believe the owner's clock.")] = False,
    report: Annotated[Path | None, Option(metavar="PAGE.html", help=_REPORT_HELP)] = None,
    json: Json = False,
) -> None:
    """Check a claim of use offline: recompute all of it from the bundle, and say what it is worth.

    A TIME has its zone: 2026-01-31T00:00:00+00:00.

    Exit codes of this command: 0 valid; 10 not significant; 3 tampered with; 4 untimely.

    An error is no verdict and leaves stdout empty: 2 usage, or no such file; 3 a package is missing.
    """
    from noli import api

    out = console.Output(json=json)
    found = api.check_bundle(
        bundle,
        seen=seen,
        suspect_since=suspect_since,
        roots=roots,
        owner=owner,
        owner_clock=owner_clock,
        report=report,
    )
    written = report if report is not None and found.status != "tampered" else None
    document = {**found.as_dict(), "report": str(written) if written else None}
    out.result(document, *summary(found, suspect_since))
    if report is not None and written is None:
        out.warn("no report was written, because nothing in this bundle can be relied upon")
    if found.status == "valid" and suspect_since is None and not _beacon(found):
        out.hint(_ONLY_OWNER)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _beacon(found: Checked) -> bool:
    return found.commitment is not None and found.commitment.protocol.beacon is not None


def summary(found: Checked, suspect_since: str | None = None) -> list[Any]:
    """Return the answer in words: status, reasons, who claims what, the figures, and who says when."""
    head = Text.assemble((found.status.upper(), _STYLES[found.status]), f": {_MEANINGS[found.status]}.")
    reasons = [Text(f"- {plain(reason)}") for reason in found.reasons]
    if found.claim is None or found.commitment is None:
        return [head, *reasons]
    from noli.proof.records import utc
    from noli.proof.times import said
    from noli.report.certificate import Certificate

    certificate = Certificate(found.claim, found.commitment, (), (), found)
    claim, commitment = found.claim, found.commitment
    since = suspect_since or claim.suspect.since
    by = "as you say" if suspect_since else "as the owner says"
    rows: console.Rows = [
        ("claim", plain(commitment.protocol.claim)),
        ("suspect", plain(", ".join(filter(None, (claim.suspect.name, claim.suspect.where))))),
        ("owner", plain(commitment.name or "no name")),
        ("public key", commitment.owner),
        *certificate.figures,
        *(("committed", f"before {said(proof.moment)}: {plain(proof.by)}") for proof in found.proofs),
        ("model since", f"{said(utc(since))}, {by}" if since else "nobody says"),
        ("still sealed", f"{found.sealed:,} of {commitment.protocol.secrets:,} secrets"),
    ]
    words = [Text(certificate.sentence)] if found.status in ("valid", "not significant") else []
    return [head, *reasons, "", console.grid(rows), "", *words, Text(_NOT_SHOWN)]


def plain(text: str) -> str:
    """Return a bundle's text as it may go to a terminal, which a stranger's text may try to steer."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
