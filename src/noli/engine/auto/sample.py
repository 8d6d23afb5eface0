"""The sample on which candidates are tried: fixed by the items' names, the same share of every class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from noli.core.dataset import Content, Ref, Source
from noli.core.images import Stored
from noli.data import exif
from noli.data.picture import from_array
from noli.engine.request import RunRequest
from noli.engine.scanstage import Totals, good_rows
from noli.engine.shard import Loaded, ShardWork
from noli.methods.verify.config import Config
from noli.methods.verify.load import shrunk
from noli.methods.verify.pairing import held_out_split, hold_out, is_held_out, shuffled

# More classes would leave too few pictures of each.
MOST_CLASSES = 50
# Short side in pixels to which pictures are reduced for the trainings; quality is measured at native size.
WORKING_SIDE = 224


@dataclass(frozen=True)
class Sample:
    """Pictures in memory.

    Attributes:
        train: Training pictures, sorted by class, reduced to the working size.
        test: Held-out pictures, reduced.
        totals: What the whole data set consists of.
    """

    train: list[Loaded]
    test: list[Loaded]
    totals: Totals

    @property
    def reduced(self) -> bool:
        """Whether any training picture was reduced."""
        return any(tuple(one.row["shape"]) != one.picture.pixels.shape for one in self.train)


class Held:
    """A source whose items are in memory, or made when they are read.

    Args:
        sample: The items.
        read: Path -> pixels ``[H, W, C]``.
    """

    uri, layout = "sample", "class-folders"

    def __init__(self, sample: Sample, read: Callable[[str], Stored]) -> None:
        self._read = read
        parts = ((sample.train, None), (sample.test, "test"))
        self._refs = [Ref(one.row["path"], one.item.label, split) for part, split in parts for one in part]

    def refs(self) -> Iterator[Ref]:
        """Iterate over the items, training first."""
        return iter(self._refs)

    def read(self, ref: Ref) -> Content:
        """Return the pixels of one item."""
        return self._read(ref.path)

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Nothing is known of size and time."""
        return 0, 0


def draw(refs: Sequence[Ref], train: int, test: int, share: float) -> tuple[list[Ref], list[Ref]]:
    """Choose items by the hash of their names, so that the order of the data set does not matter.

    Args:
        refs: All items.
        train: Training items at most.
        test: Held-out items at most.
        share: Share of every class that is held out where the data has no test split.

    Returns:
        Items for training and held-out ones.
    """
    labels = sorted({str(ref.label) for ref in refs}, key=lambda label: shuffled(Ref(label)))[:MOST_CLASSES]
    known = [ref for ref in refs if str(ref.label) in labels]
    split = held_out_split(known)
    pool = [ref for ref in known if not is_held_out(ref)]
    if split is None:
        kept, out = hold_out([(ref, ref) for ref in pool], share)
        pool, held = [ref for ref, _ in kept], [ref for ref, _ in out]
    else:
        held = [ref for ref in known if (ref.split or "").lower() == split]
    return stratified(pool, train), stratified(held, test)


def stratified(refs: Sequence[Ref], limit: int) -> list[Ref]:
    """Keep at most `limit` items, of every class the same share and at least one while there is room.

    Returns:
        The items sorted by class and, within it, by the hash of their names.
    """
    groups: dict[str, list[Ref]] = defaultdict(list)
    for ref in sorted(refs, key=shuffled):
        groups[str(ref.label)].append(ref)
    ranked = [(place / len(group), shuffled(ref), ref) for group in groups.values()
              for place, ref in enumerate(group)]  # fmt: skip
    chosen = sorted(ranked, key=lambda found: found[:2])[:limit]
    return [ref for *_, ref in sorted(chosen, key=lambda found: (str(found[2].label), found[1]))]


def read(request: RunRequest, source: Source, cfg: Config) -> Sample:
    """Scan the whole data set, so that what a run would refuse is refused now, and read the sample.

    Raises:
        DataError: Items that cannot be used, by the policy of the request.
    """
    parts = draw(list(source.refs()), cfg.item_limit, cfg.max_test, cfg.holdout)
    wanted, totals = {ref.path for part in parts for ref in part}, Totals()
    rows = {row["path"]: row for row in good_rows(request, source, totals) if row["path"] in wanted}
    work, bar = ShardWork(request, {}, source), request.progress
    bar.start(len(rows), "read")

    def loaded(part: list[Ref]) -> list[Loaded]:
        found = []
        for ref in part:
            if ref.path in rows:  # else an item that the error policy leaves out
                found.append(_reduced(work.load(rows[ref.path])))
                bar.advance()
        return found

    try:
        train, test = map(loaded, parts)
    finally:
        bar.finish()
    return Sample(train, test, totals)


def _reduced(one: Loaded) -> Loaded:
    """Return an item upright, without alpha, and small enough for many of them to fit into memory."""
    upright = exif.upright(one.picture.pixels, exif.orientation(one.picture.exif))
    return replace(one, picture=from_array(shrunk(upright, WORKING_SIDE), where=one.row["path"]))
