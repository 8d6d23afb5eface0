"""``noli check BUNDLE.zip ...``: what one claim is worth, or several together, recomputed offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json
from noli.core.errors import MissingPrerequisite, NoliError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from noli.proof.check import Checked
    from noli.proof.protocol import Protocol
    from noli.proof.released import Comparison
    from noli.proof.several import Handed, Several

_STYLES = {
    "valid": "bold green",
    "on trust": "bold yellow",
    "not significant": "bold yellow",
    "tampered": "bold red",
    "untimely": "bold red",
}
_MEANINGS = {
    "valid": "all figures follow from the records, and the secrets were fixed in time",
    "on trust": "all figures follow from the records, but it is evidence only if you believe its owner",
    "not significant": "nothing is wrong with the bundle, but it is no evidence",
    "tampered": "damaged, forged, or of another owner, so that nothing in it counts",
    "untimely": "nothing shows that the secrets came first, or the records say that they did not",
}
# The head of what report.limits lists, without a beacon and with one.
_DRAWN = "that the owner drew the secrets at random"
_LUCKIEST = "that the owner made no other commitments (of very many, one will be lucky)"
_ANSWERS = "that the answers came from the suspect"
_WHOLE_LIST = (
    "the page that --report writes of one bundle has the whole list. The report inside a bundle is its "
    "owner's own text."
)
_AGE = "Find out since when the model exists, and name the time with --suspect-since. "
_BELIEVE_HELP = "Take the owner's word for it: clock, draw, age or labels; may be repeated."
_SEEN_HELP = "You saw the published commitment, of this number, by then."
_SINCE_HELP = "Since when the model exists, if you know better."
_RELEASED_HELP = "What is said to have been released: see whether it is."
_REPORT_HELP = "Write the recomputed certificate to a new page."
_SHOWN = 12  # lines of a label map
Seen = Annotated[list[str] | None, Option(metavar="SHA256=TIME", help=_SEEN_HELP)]
_OWNER_HELP = "Public key that the owner must have."
Owner = Annotated[str | None, Option(metavar="HEX", hidden=True, help=_OWNER_HELP)]
_ALPHA_HELP = "Common bound for several claims; default: the smallest of theirs."
Since = Annotated[str | None, Option(metavar="TIME", help=_SINCE_HELP)]
Alpha = Annotated[float | None, Option(metavar="P", hidden=True, help=_ALPHA_HELP)]


def check(
    bundles: Annotated[
        list[Path], Argument(metavar="BUNDLE.zip", help="What the owners of the claims gave you.")
    ],
    seen: Seen = None,
    suspect_since: Since = None,
    roots: Annotated[
        Path | None, Option(metavar="FILE.pem", help="Time-stamping authorities that you trust.")
    ] = None,
    owner: Owner = None,
    believe: Annotated[list[str] | None, Option(metavar="WORD", help=_BELIEVE_HELP)] = None,
    alpha: Alpha = None,
    report: Annotated[Path | None, Option(metavar="PAGE.html", help=_REPORT_HELP)] = None,
    released: Annotated[Path | None, Option(metavar="FOLDER", help=_RELEASED_HELP)] = None,
    json: Json = False,
) -> None:
    """Check a claim of use offline: recompute all of it from the bundle, and say what it is worth.

    Of several bundles it also says which claims hold together, by Holm's method (and e-BH's).

    A TIME has its zone: 2026-01-31T00:00:00+00:00. Of SHA256 the first 16 digits
    will do; a TIME alone is not held against the commitment: compare it yourself.

    Exit codes of this command: 0 valid; 11 only if you believe the owner; 10 not
    significant; 3 tampered with; 4 untimely.

    Of several: 3 if any is tampered with; else 4 if any is untimely; else 10
    unless all claims survive; else 11 if one does so by its owner's word alone.

    With --released, 1 where the answer is valid and the folder is not what the
    bundle fixes.

    An error is no verdict and leaves stdout empty: 2 usage, or no such file; 5 a
    package is missing, or something else went wrong.
    """
    from noli import api

    out = console.Output(json=json)
    trust: dict[str, Any] = {
        "seen": seen,
        "suspect_since": suspect_since,
        "roots": roots,
        "owner": owner,
        "believe": believe or (),
    }
    try:
        if len(bundles) > 1 or alpha is not None:
            _refuse_single(report=report, released=released)
            code = _tell_several(out, api.check_bundles(bundles, **trust, alpha=alpha))
        else:
            found = api.check_bundle(bundles[0], **trust, report=report, released=released)
            code = _tell_one(out, found, report)
    except MissingPrerequisite as error:
        error.exit_code = NoliError.exit_code  # elsewhere its code is 3, and here that is a verdict
        raise
    if code:
        raise typer.Exit(code)


def _refuse_single(**given: Path | None) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"--{name} is about one claim.",
                where=f"--{name} {value}",
                why="several bundles, or --alpha, ask for a common answer",
                fix="check each bundle alone with it; --json has the common answer",
            )


def _tell_one(out: console.Output, found: Checked, report: Path | None) -> int:
    written = report if report is not None and found.status != "tampered" else None
    code = found.exit_code or (1 if found.compared and found.compared.outcome != "same" else 0)
    document = {**found.as_dict(), "exit_code": code, "report": str(written) if written else None}
    words = summary(found)
    out.result(document, *words, *(["", *comparison(found.compared)] if found.compared else []))
    if report is not None and written is None:
        out.warn("no report was written, because nothing in this bundle can be relied upon")
    _hint_trust(out, [found])
    return code


def _tell_several(out: console.Output, found: Several) -> int:
    out.result(found.as_dict(), *common_summary(found))
    _hint_trust(out, [one.checked for one in found.bundles])
    return found.exit_code


def _hint_trust(out: console.Output, found: Iterable[Checked]) -> None:
    from noli.proof.times import BY_CHECKER

    found = list(found)
    if any(proof.by == BY_CHECKER for one in found for proof in one.proofs if not proof.of):
        out.hint("Compare the commitment's SHA-256 with the number that you saw, or give --seen SHA256=TIME.")
    if any(one.status == "untimely" and not one.proofs for one in found):
        out.hint(
            "If you saw its number published: --seen SHA256=TIME. If it has time stamps: --roots FILE.pem."
        )
    words = dict.fromkeys(rests.word for one in found for rests in one.rests)
    if words:
        flags = " ".join(f"--believe {word}" for word in words)
        known = _AGE if "age" in words else ""
        out.hint(f"{known}To take the owner's word: {flags}")


def closing(protocols: Iterable[Protocol]) -> str:
    """Return what claims with these protocols do not show, in short."""
    from noli.report.limits import randomness

    # Several bundles may have both kinds.
    public = {bool(randomness(protocol)) for protocol in protocols}
    parts = [text for had, text in ((False, _DRAWN), (True, _LUCKIEST)) if had in public]
    return f"It does not show {_ANSWERS}, who trained the model, nor {', nor '.join(parts)}: {_WHOLE_LIST}"


def common_summary(found: Several) -> list[Any]:
    """Return the answer about several bundles: each one's status and reasons, the figures, who survives."""
    blocks: list[Any] = []
    for one in found.bundles:
        status = one.checked.status
        word = (status.upper(), _STYLES[status])
        blocks.append(Text.assemble(f"{plain(one.name)}: ", word, f": {_meaning(one.checked)}."))
        blocks += [Text(f"- {plain(reason)}") for reason in one.checked.reasons]
        if one.checked.commitment is not None:
            blocks.append(Text(f"  commitment, SHA-256: {one.checked.commitment.digest}"))
    protocols = [one.checked.commitment.protocol for one in found.bundles if one.checked.commitment]
    if found.alpha is None or not protocols:
        return blocks
    from noli.report.certificate import number

    columns = ["bundle", "suspect", "owner", "p-value", f"among {found.tests:,} tests", "e-value", "answer"]
    rows = [_row(one) for one in found.bundles if one.checked.commitment]
    alpha, kept = number(found.alpha), len(found.survivors)
    words = [
        f"{kept} of {len(found.bundles)} claims survive. The probability that any false claim survives is at "
        f"most {alpha} (Holm, over all tests that the ledgers list or plan)."
    ]
    if any(one.e_bh is not None for one in found.bundles):
        words.append(f"Of the claims that e-BH names, a share of {alpha} at most is false on average.")
    if len(found.owners) > 1:
        words.append(f"The claims are of {len(found.owners)} owners, each with tests of their own.")
    table = console.table("", columns, rows)
    return [*blocks, "", table, "", *map(Text, words), Text(closing(protocols))]


def _row(one: Handed) -> list[str]:
    from noli.report.certificate import number

    claim, commitment = one.checked.claim, one.checked.commitment
    if claim is None or commitment is None:
        return [plain(one.name), *("-" for _ in range(6))]
    owner = f"{commitment.name} {commitment.owner[:16]}".strip()
    who = [plain(text) for text in (one.name, claim.suspect.name, owner)]
    if one.p is None:
        return [*who, "-", "-", "-", "does not count"]
    e = "-" if claim.outcome.e is None else number(claim.outcome.e)
    held = "survives" if one.survives else "only on trust" if one.on_trust else "does not survive"
    answer = held + (", e-BH too" if one.e_bh else "")
    return [*who, number(claim.outcome.p), number(one.p), e, answer]


def summary(found: Checked) -> list[Any]:
    """Return the answer in words: status, reasons, who claims what, the figures, and who says when."""
    head = Text.assemble((found.status.upper(), _STYLES[found.status]), f": {_meaning(found)}.")
    reasons = [Text(f"- {plain(reason)}") for reason in found.reasons]
    if found.claim is None or found.commitment is None:
        return [head, *reasons]
    from noli.proof.times import said
    from noli.report.certificate import Certificate
    from noli.report.limits import randomness

    certificate = Certificate(found.claim, found.commitment, (), (), found)
    claim, commitment = found.claim, found.commitment
    by = "as you say" if found.since_by == "the checker" else "as the owner says"
    rows: console.Rows = [
        ("claim", plain(commitment.protocol.claim)),
        ("suspect", plain(", ".join(filter(None, (claim.suspect.name, claim.suspect.where))))),
        ("owner", plain(commitment.name or "no name")),
        ("public key", commitment.owner),
        # What a checker compares with the number that was published: --seen speaks of this one.
        ("commitment, SHA-256", commitment.digest),
        ("released", plain(certificate.released)),
        *certificate.figures,
        *(("committed", f"before {said(proof.moment)}: {plain(proof.by)}") for proof in found.proofs),
        ("model since", f"{said(found.since)}, {by}" if found.since else "nobody says"),
        *(("classes taken for", text) for text in _mapped(claim.suspect.label_map)),
        *(("on the owner's word", word) for word in found.believed),
        ("still sealed", f"{found.sealed:,} of {commitment.protocol.secrets:,} secrets"),
    ]
    counts = found.status in ("valid", "on trust", "not significant")
    words = [Text(certificate.sentence)] if counts else []
    if counts and (public := randomness(commitment.protocol)):
        words.append(Text(f"Public randomness: {public}"))
    return [head, *reasons, "", console.grid(rows), "", *words, Text(closing([commitment.protocol]))]


def _meaning(found: Checked) -> str:
    if found.status == "valid" and found.believed:
        return (
            f"all figures follow from the records, if you are right to believe: {', '.join(found.believed)}"
        )
    return _MEANINGS[found.status]


def _mapped(known: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a label map as a reader can judge it: the first lines, and how many there are."""
    lines = [f"{plain(name)} as {plain(', '.join(own)) or 'none'}" for name, own in known.items()]
    return lines[:_SHOWN] + [f"and {len(lines) - _SHOWN:,} more (claim.json)"] * (len(lines) > _SHOWN)


_HELD = {
    "same": ("THE SAME FILES", "bold green", "the folder is what the bundle says was released."),
    "differs": ("OTHER FILES", "bold red", "the folder is not what the bundle says was released."),
    "not bound": ("NOT BOUND", "bold yellow", "the bundle does not fix which files were released."),
}
_NAMED = 20


def comparison(found: Comparison) -> list[Any]:
    """Return what holding a folder against the released files gave, in words."""
    word, style, text = _HELD[found.outcome]
    blocks: list[Any] = [Text.assemble((word, style), f": {text}")]
    groups = {"other content": found.different, "missing": found.missing, "not released": found.extra}
    for what, names in groups.items():
        blocks += [Text(f"- {what}: {plain(name)}") for name in names[:_NAMED]]
        if len(names) > _NAMED:
            blocks.append(Text(f"- {what}: {len(names) - _NAMED:,} more; --json lists all"))
    if found.outcome == "differs" and len(blocks) == 1:
        blocks.append(Text("- which files differ cannot be said: the bundle withholds the list"))
    return blocks


def plain(text: str) -> str:
    """Return a bundle's text as it may go to a terminal, which a stranger's text may try to steer."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
