"""Check a bundle offline: what its claim is worth to somebody who trusts only what he names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from noli.api._released import held_against
from noli.core.errors import UsageError
from noli.core.files import refuse_existing, write_new
from noli.proof.bundle import SIGNATURE, load, unpack
from noli.proof.check import Checked, check, read_parts
from noli.proof.records import Damaged
from noli.proof.several import Several, together
from noli.proof.times import parse, read_roots, seen_by_checker
from noli.proof.trust import Trust, words

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_KEY = re.compile(r"[0-9a-f]{64}")


def check_bundle(
    path: str | Path,
    *,
    seen: str | datetime | Sequence[str] | None = None,
    suspect_since: str | datetime | None = None,
    roots: str | Path | None = None,
    owner: str | None = None,
    believe: Sequence[str] = (),
    report: str | Path | None = None,
    released: str | Path | None = None,
) -> Checked:
    """Recompute everything that a bundle claims, without any network.

    A claim needs somebody other than the owner who says that the commitment is older than the suspect: a
    time-stamping authority (``roots``), or yourself (``seen``).

    Args:
        path: The bundle, a zip.
        seen: You saw the published commitment by then: ``DIGEST=TIME``, with the SHA-256 that was published
            or its first 16 digits, and a time with its zone. A time alone is not held against this
            commitment.
        suspect_since: Since when the suspect exists, if you know better than the bundle.
        roots: PEM file with certificates of time-stamping authorities that you trust.
        owner: Public key that the owner must have, 64 hex digits; None: any.
        believe: What you take on the owner's word: ``clock``, when the commitment was made; ``draw``, that
            the secrets were drawn at random; ``age``, since when the suspect exists; ``labels``, the label
            map.
        report: Write the certificate to this new page, made from what was recomputed. Of a bundle that was
            tampered with there is none.
        released: A folder, or a file, that is said to be what was released: ``compared`` then says whether
            it is, file by file. It changes nothing of the answer.

    Returns:
        The answer: ``valid``, ``not significant``, ``tampered`` or ``untimely``, with the reasons; ``on
        trust`` where nothing is wrong, but it is evidence only for somebody who believes the owner.

    Raises:
        UsageError: There is no such file or folder, or a time, a key, the certificates or what to believe
            cannot be read.
        DataError: A released file cannot be read.
        OutputExists: Something is where the report is to go.
        MissingPrerequisite: A time stamp or a beacon cannot be checked without an extra package.
        RunError: The report cannot be written.
    """
    trust = _trust(seen, suspect_since, roots, owner, believe)
    if report is not None:
        refuse_existing(report)
    data, checked = _read(path, trust)
    if released is not None and checked.status != "tampered":
        checked = replace(checked, compared=held_against(checked.release, released))
    if report is not None and checked.status != "tampered":
        write_new(Path(report), _page(data, checked).encode())
    return checked


def check_bundles(
    paths: Sequence[str | Path],
    *,
    seen: str | datetime | Sequence[str] | None = None,
    suspect_since: str | datetime | None = None,
    roots: str | Path | None = None,
    owner: str | None = None,
    believe: Sequence[str] = (),
    alpha: float | None = None,
) -> Several:
    """Recompute several bundles, and say which of their claims hold together.

    Of many claims one may look good by chance. Here the probability that any false one survives is at most
    alpha: Holm's method over the p-values of all tests that the bundles' ledgers list or plan. A claim that
    survives is also valid on its own. See :mod:`noli.proof.several`.

    Args:
        paths: The bundles, each once; they may be of different owners.
        seen: You saw all of the published commitments by then, a time with its zone; or several
            ``DIGEST=TIME``, as for :func:`check_bundle`.
        suspect_since: Since when all of the suspects exist, if you know better than the bundles.
        roots: PEM file with certificates of time-stamping authorities that you trust.
        owner: Public key that every owner must have, 64 hex digits; None: any.
        believe: What you take on the owners' word, as for :func:`check_bundle`.
        alpha: The common bound, in (0, 0.05]; None: the smallest of the claims.

    Returns:
        Every bundle's own answer, its p-value among all tests, and whether its claim survives. ``exit_code``
        is 3 if a bundle was tampered with, else 4 if one is untimely, else 10 if a claim does not survive,
        else 11 if one rests on its owner's word, and 0 if all of them survive.

    Raises:
        UsageError: No bundle, or the same test twice; a file, a time, a key, an alpha or the certificates
            cannot be read.
        MissingPrerequisite: A time stamp or a beacon cannot be checked without an extra package.
    """
    trust = _trust(seen, suspect_since, roots, owner, believe)
    return together([(str(path), _read(path, trust)[1]) for path in paths], alpha)


def _trust(
    seen: str | datetime | Sequence[str] | None,
    suspect_since: str | datetime | None,
    roots: str | Path | None,
    owner: str | None,
    believe: Sequence[str],
) -> Trust:
    return Trust(
        roots=_roots(roots),
        seen=tuple(map(seen_by_checker, _texts(seen))),
        suspect_since=None if suspect_since is None else parse(_text(suspect_since)),
        owner=None if owner is None else _public_key(owner),
        believe=words(believe),
    )


def _read(path: str | Path, trust: Trust) -> tuple[bytes, Checked]:
    try:
        data = load(Path(path))
    except Damaged as error:
        return b"", Checked("tampered", (f"Damaged or tampered with: {error}.",))
    except OSError as error:
        fix = "name the zip that the owner of the claim gave you"
        what = "The bundle cannot be read."
        raise UsageError(what, where=str(path), why=error.strerror or str(error), fix=fix) from error
    return data, check(data, trust)


def _page(data: bytes, checked: Checked) -> str:
    from noli.report.certificate import Certificate, render_html
    from noli.report.contents import contents

    held, signed = unpack(data)
    parts = read_parts(held)
    claim = checked.claim or parts.claim
    listed = contents({**held, SIGNATURE: signed.canonical()})
    return render_html(
        Certificate(claim, parts.commitment, parts.spent, parts.entries, checked, contents=listed)
    )


def _roots(file: str | Path | None) -> list[Certificate]:
    if file is None:
        return []
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        fix = "give a PEM file with the certificates that you trust"
        what = "The certificates cannot be read."
        raise UsageError(what, where=str(file), why=error.strerror or str(error), fix=fix) from error
    return read_roots(data, str(file))


def _public_key(text: str) -> str:
    key = text.strip().lower()
    if not _KEY.fullmatch(key):
        raise UsageError(
            "This is no public key.",
            where=f"owner {text}",
            why=f"it has {len(key)} characters, and 64 hex digits (0-9, a-f) are needed",
            fix="take it from the commitment that the owner published",
        )
    return key


def _texts(seen: str | datetime | Sequence[str] | None) -> list[str]:
    if seen is None:
        return []
    return [_text(seen)] if isinstance(seen, str | datetime) else list(seen)


def _text(moment: str | datetime) -> str:
    return moment if isinstance(moment, str) else moment.isoformat()
