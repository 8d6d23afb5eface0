"""The certificate of a proof: what is claimed and what is not, for people, as HTML and as PDF."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from noli.proof import ledger
from noli.proof.beacon import round_time
from noli.proof.bundle import SIGNATURE
from noli.proof.check import Checked
from noli.proof.claim import Claim
from noli.proof.commitment import Commitment
from noli.proof.ledger import Spent
from noli.proof.released import Bound
from noli.proof.transcript import Entry
from noli.report.build import template
from noli.report.contents import Member
from noli.report.limits import not_shown, randomness

_WIDTH, _HEIGHT = 640, 180
_WORDS = {
    "clock": "when the commitment was made",
    "draw": "that the secrets were drawn at random",
    "age": "since when the suspect exists",
    "labels": "what the suspect's classes are called in the data",
}
# So that 0.59 is 59 of 100 and 1e-3 one in 1,000, whatever binary fractions make of them.
_LAST_DIGITS = 1e-12


@dataclass(frozen=True)
class Curve:
    """Running evidence as an SVG path.

    Attributes:
        points: Of a polyline in a box of 640 by 180.
        threshold, neutral: Heights of the lines at what the test had to reach, by its place in the ledger,
            and at 1.
        label: What the threshold is.
    """

    points: str
    threshold: float
    neutral: float
    label: str


@dataclass(frozen=True)
class Certificate:
    """All that the page and the PDF show.

    Attributes:
        claim, commitment, spent: The records.
        entries: The transcript.
        checked: What an offline check said, where there was one.
        release: Which files were released; None: what the check says.
        contents: Members of the bundle. A page that is one of them lists all but the reports and the
            signature, which covers all.
    """

    claim: Claim
    commitment: Commitment
    spent: Sequence[Spent]
    entries: Sequence[Entry]
    checked: Checked | None = None
    release: Bound | None = None
    contents: Sequence[Member] = ()

    @property
    def released(self) -> str:
        """Which files were released, and what fixes that."""
        found = self.release or (self.checked.release if self.checked else None)
        return found.words if found else "not fixed: the bundle has no list of the files that were released"

    @property
    def tone(self) -> str:
        """Colour of the banner."""
        if self.checked is not None and self.checked.status in ("tampered", "untimely", "on trust"):
            return "unsure"
        return "good" if self.claim.verdict.supported else "none"

    @property
    def headline(self) -> str:
        """The answer in a few words."""
        if self.checked is not None and self.checked.status in ("tampered", "untimely"):
            return f"Not accepted: {self.checked.status}"
        if self.checked is not None and self.checked.status == "on trust":
            return "Supported only if its owner is believed"
        if self.claim.verdict.supported and self.checked is not None and self.checked.believed:
            return "The claim is supported, if its owner is believed"
        return "The claim is supported" if self.claim.verdict.supported else "The claim is not supported"

    @property
    def believed(self) -> str:
        """What the checker took on the owner's word, in a sentence; nothing where there was nothing."""
        words = self.checked.believed if self.checked else ()
        return f"Taken on the owner's word: {'; '.join(_WORDS[word] for word in words)}." if words else ""

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        verdict, protocol = self.claim.verdict, self.commitment.protocol
        rare = rarity(verdict.p)
        if verdict.supported:
            return (
                f"If the claim were false, evidence as strong as this would turn up {rare}. "
                f"The bound that was fixed beforehand is {number(protocol.alpha)}."
            )
        return (
            f"Evidence as strong as this turns up {rare} even if the claim is false, and the bound that "
            f"was fixed beforehand is {number(protocol.alpha)}. Nor is it shown that the claim is false."
        )

    @property
    def figures(self) -> tuple[tuple[str, str], ...]:
        """Label and value of what counts."""
        outcome, verdict = self.claim.outcome, self.claim.verdict
        found = [
            (outcome.statistic, f"{outcome.value:g}"),
            ("expected by chance", f"{outcome.expected:.4g}"),
            (counted(self.commitment.protocol.test), f"{outcome.n}"),
            ("p-value, exact" if not outcome.anytime else "p-value, valid at any time", number(outcome.p)),
        ]
        if outcome.e is not None:
            found.append(("evidence (e-value)", number(outcome.e)))
        if verdict.tests > 1:
            planned = self.commitment.protocol.tests
            how = "Bonferroni" if planned == verdict.tests else f"{planned} planned"
            found.append((f"p-value among {verdict.tests} tests ({how})", number(verdict.p)))
        if outcome.refused:
            found.append(("without an answer, counted as misses", str(outcome.refused)))
        return tuple(found)

    @property
    def curve(self) -> Curve | None:
        """The evidence after each query of a sequential test."""
        running = self.claim.outcome.running
        if len(running) < 2:
            return None
        protocol = self.commitment.protocol
        # The rule's own bar: a test beyond the planned ones has to show more.
        top = math.log(ledger.paid(protocol, self.spent, self.claim.transcript) / protocol.alpha)
        high, low = max(top, *running) * 1.1, min(0.0, *running) - 0.5

        def at(value: float) -> float:
            return round(_HEIGHT * (high - value) / (high - low), 1)

        places = (i * _WIDTH / (len(running) - 1) for i in range(len(running)))
        points = " ".join(f"{x:.1f},{at(y)}" for x, y in zip(places, running, strict=True))
        return Curve(points, at(top), at(0.0), f"needed: {number(math.exp(top))}")

    @property
    def sharing(self) -> str:
        """How the tests share the error probability, and what this one pays."""
        return ledger.sharing(self.commitment.protocol, self.spent, self.claim.transcript)

    @property
    def unlisted(self) -> str:
        """Which members are not in the table, and why."""
        if any(one.name == SIGNATURE for one in self.contents):
            return f"{SIGNATURE} has the digests of all others, signed by the owner."
        return (
            f"Not listed are report.html and report.pdf, because this page is one of them, and {SIGNATURE}, "
            "which has the digests of all others, signed by the owner."
        )

    @property
    def opened(self) -> int:
        """Secrets that the bundle opens."""
        return len({entry.item for entry in self.entries})

    @property
    def times(self) -> tuple[tuple[str, str], ...]:
        """What happened when, and who says so."""
        proofs = self.checked.proofs if self.checked else ()
        found = [("Commitment, by the owner's clock", self.commitment.created)]
        found += [(f"Commitment known, by {proof.by}", proof.moment.isoformat()) for proof in proofs]
        if plan := self.commitment.protocol.beacon:
            found.append((f"Round {plan.round} of {plan.source}", round_time(plan.round).isoformat()))
        if self.claim.suspect.since:
            found.append(("Suspect first seen, as the owner says", self.claim.suspect.since))
        if self.checked and self.checked.since and self.checked.since_by == "the checker":
            found.append(("Suspect first seen, as the checker says", self.checked.since.isoformat()))
        if self.entries:
            found += [("First query", self.entries[0].time), ("Last query", self.entries[-1].time)]
        return tuple(found)


def counted(test: str) -> str:
    """Return what the number in an outcome counts."""
    return {"texts": "texts", "bits": "bits", "decoys": "strings"}.get(test, "of")


def number(value: float) -> str:
    """Return a p-value or e-value as people write it: ``0.012``, ``4.3 × 10⁻⁷``."""
    if value == 0 or 1e-3 <= value < 1e5:
        return f"{value:.2g}" if value < 100 else f"{value:,.0f}"
    digits, _, power = f"{value:.1e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == "1.0" else f"{digits} \u00d7 10{raised}"


def rarity(p: float) -> str:
    """Return how often something of probability `p` happens, in words that never make it rarer than it is."""
    if p > 0.2:
        return f"in {math.ceil(100 * p * (1 - _LAST_DIGITS))} of 100 cases"
    if p < 1e-15:
        return "less than once in 10¹⁵ cases"
    return f"at most once in {math.floor(1 / p * (1 + _LAST_DIGITS)):,} cases"


def render_html(certificate: Certificate) -> str:
    """Return the page; the same certificate gives the same page, which needs nothing else."""
    protocol = certificate.commitment.protocol
    return template("proof.html.j2").render(
        one=certificate,
        protocol=protocol,
        randomness=randomness(protocol),
        not_shown=not_shown(protocol),
        number=number,
        size=(_WIDTH, _HEIGHT),
    )


def render_pdf(certificate: Certificate) -> bytes:
    """Return the certificate as a PDF of A4 pages, text only; the same certificate gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    buffer, lines = io.BytesIO(), _lines(certificate)
    dated = {"CreationDate": None, "Title": certificate.headline, "Creator": "noli"}
    with (
        mpl.rc_context({"pdf.fonttype": 42, "text.parse_math": False}),
        PdfPages(buffer, metadata=dated) as pages,
    ):
        for start in range(0, len(lines), _PER_PAGE):
            figure = Figure(figsize=(8.27, 11.69))
            for row, (text, size, weight) in enumerate(lines[start : start + _PER_PAGE]):
                figure.text(0.09, 0.95 - row * 0.0155, text, fontsize=size, fontweight=weight, va="top")
            pages.savefig(figure)
    return buffer.getvalue()


_PER_PAGE = 57


def _lines(certificate: Certificate) -> list[tuple[str, float, str]]:
    """Return the PDF's lines: text, size and weight."""
    claim, protocol = certificate.claim, certificate.commitment.protocol
    made: list[tuple[str, float, str]] = []

    def add(text: str, size: float = 9.5, weight: str = "normal") -> None:
        made.extend((line, size, weight) for line in textwrap.wrap(text, 96) or [""])

    def head(text: str) -> None:
        made.append(("", 9.5, "normal"))
        add(text, 11.5, "bold")

    add(certificate.headline, 16, "bold")
    made.append(("", 9.5, "normal"))
    add(f"Claim of {certificate.commitment.name or certificate.commitment.owner[:16]}: {protocol.claim}")
    add(f"About: {claim.suspect.name} {claim.suspect.where}")
    add(certificate.sentence)
    head("Figures")
    for label, value in certificate.figures:
        add(f"{label}: {value}")
    head("Tested was that")
    add(protocol.null)
    head("What this rests on")
    if public := randomness(protocol):
        add(f"- Public randomness: {public}")
    for text in claim.outcome.assumptions:
        add(f"- {text}")
    head("Tests with these secrets")
    add(f"{len(certificate.spent):,} in the ledger. {certificate.sharing}")
    head("When")
    for label, value in certificate.times:
        add(f"{label}: {value}")
    head("What it does not show")
    for text in not_shown(protocol):
        add(f"- {text}")
    if certificate.contents:
        head("Members of the bundle (bytes, first 16 digits of SHA-256)")
        for one in certificate.contents:
            add(f"{one.label}: {one.amount}, {one.short}")
        add(certificate.unlisted)
    head("To be checked with")
    add("noli check bundle.zip, offline; everything above is recomputed from the bundle's records.")
    add(f"Owner's public key: {certificate.commitment.owner}")
    add(f"Commitment (SHA-256): {certificate.commitment.digest}")
    add(f"Released: {certificate.released}")
    return made
