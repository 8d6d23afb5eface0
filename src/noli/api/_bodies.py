"""Bodies of requests and responses, kept beside transcripts, which have only their digests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from noli.api._beacon import PROOF
from noli.core.errors import UsageError
from noli.core.files import atomic_write
from noli.core.run import Run
from noli.proof.bodies import PREFIX, digests
from noli.proof.records import sha256
from noli.proof.transcript import Entry

Keep = Callable[[bytes], None]
_FOLDER = "bodies"
_MOST = 2**30  # a bundle is made, and checked, in memory


def keeper(run: Run) -> Keep:
    """Return what keeps a body in the run folder, readable by its owner alone, named by its digest."""
    folder = run.path / PROOF / _FOLDER

    def keep(body: bytes) -> None:
        file = folder / sha256(body)
        if not file.is_file():
            atomic_write(file, body, private=True)

    return keep


def members(run: Run, entries: Sequence[Entry]) -> dict[str, bytes]:
    """Return the bodies of a transcript that were kept, for a bundle.

    Raises:
        UsageError: They are more than a bundle takes.
    """
    files = {digest: run.path / PROOF / _FOLDER / digest for digest in sorted(digests(entries))}
    there = {digest: file for digest, file in files.items() if file.is_file()}
    if (size := sum(file.stat().st_size for file in there.values())) > _MOST:
        raise UsageError(
            "The bodies are too large for a bundle.",
            where=str(run.path / PROOF / _FOLDER),
            why=f"they have {size / 2**30:.1f} GiB, and {_MOST >> 30} GiB is allowed",
            fix="leave --bodies out and hand them over as files: the transcript has their digests",
        )
    return {f"{PREFIX}{digest}": file.read_bytes() for digest, file in there.items()}
