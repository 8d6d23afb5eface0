"""The attacks by name: the one table from which audits, lists and single runs take them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from noli.core.audit import DEMONSTRATION, Has
from noli.core.errors import UsageError

H = TypeVar("H", bound=str)


class Named(NamedTuple, Generic[H]):
    """What an attack is called, what it does in plain words, and what the attacker has, too."""

    name: str
    about: str
    has: H

    @property
    def word(self) -> str:
        """What is typed: the name with dashes."""
        return typed(self.name)


def typed(name: str) -> str:
    """Return a name as it is typed: small letters, with dashes for spaces."""
    return name.strip().lower().replace(" ", "-")


Group = tuple[Named[Has], ...]
NOTHING: Has = "nothing more"
ALIKE: Has = "pictures like these"
UNORDERED: Has = "the pictures, unordered"

# On scrambled pictures.
LEADING_BIT = Named[Has]("leading bit", "negates every value that is bright", NOTHING)
LEAST_DIFFERENCE = Named[Has](
    "least difference", "takes for every pixel what is most like its neighbours", NOTHING
)
JIGSAW = Named[Has]("jigsaw", "puts blocks together by their borders", NOTHING)
STATISTICS = Named[Has]("statistics", "matches how values go together with public pictures", ALIKE)
ONE_PAIR = Named[Has](
    "one pair", "matches one picture in plain with its scrambled one, and brings back the others",
    "one picture in plain",
)  # fmt: skip
CHOSEN = Named[Has](
    "chosen pictures", "has pictures scrambled that number every value", "pictures of his choice"
)
PICTURES: Group = (LEADING_BIT, LEAST_DIFFERENCE, JIGSAW, STATISTICS, ONE_PAIR, CHOSEN)

# On scrambled pictures, too; they learn from public ones.
BLOCKS = Named[Has](
    "block statistics", "compares what no key changes, untrained; shows the nearest public picture", ALIKE
)
EMBEDDING = Named[Has](
    "embedding", "learned to say what an encoder sees in the plain picture; shows the nearest public picture",
    ALIKE,
)  # fmt: skip
STYLES = Named[Has](
    "style encoder", "an encoder into the styles of a generator (after arXiv 2209.07953)", ALIKE
)
GUIDED = Named[Has]("guided styles", "the embedding guides the generator (after arXiv 2303.05036)", ALIKE)
DIFFUSION = Named[Has](
    "guided diffusion", "the embedding guides a latent diffusion model (after arXiv 2303.05036)", ALIKE
)
LEARNED: Group = (BLOCKS, EMBEDDING, STYLES, GUIDED, DIFFUSION)

# On codes that are sets of vectors: which code belongs to which picture.
LINKING = Named[Has](
    "linking",
    "finds by their mean the codes of a picture encoded twice, stored as JPEG in between",
    DEMONSTRATION,
)
DISTRIBUTIONS = Named[Has](
    "distributions", "trains a network until its codes of public pictures are spread alike (MMD)", ALIKE
)
LENGTHS = Named[Has](
    "lengths and distances", "compares sets of codes with those of a random network of his, untrained",
    UNORDERED,
)  # fmt: skip
ORDER = Named[Has](
    "order undone", "groups codes by place, which brings their order back, and compares what is left",
    UNORDERED,
)  # fmt: skip
BOOSTED = Named[Has](
    "boosted matching", "learns from the surest matches, matches again, and so on", UNORDERED
)
# Pictures in plain that the attacker has.
PAIRS: Mapping[int, Named[Has]] = {
    count: Named[Has](
        f"{count} pair{'s' * (count > 1)}", "fits an encoder by least squares, and matches the rest",
        "one picture in plain" if count == 1 else "some pictures in plain",
    )
    for count in (1, 10, 100)
}  # fmt: skip
SETS: Group = (LINKING, DISTRIBUTIONS, LENGTHS, ORDER, BOOSTED, *PAIRS.values())

# On codes that are mixed pictures.
GRAPH = Named[Has](
    "graph of codes",
    "tells by absolute values which codes share a picture, and solves for the pictures",
    NOTHING,
)
GROUPED = Named[Has](
    "grouped as stored", f"{GRAPH.about}; codes of a picture stand together in the file", NOTHING
)
SEED = Named[Has](
    "integer seed",
    "tries seeds, had the pictures been encoded by NumPy and torch as published",
    DEMONSTRATION,
)
MIXES: Group = (GRAPH, GROUPED, SEED)

# On keyed models: pictures changed a little, so that the answer is wrong.
_LEVELS = "L1 to L3"
SQUARE = Named("Square", "changes random squares, and keeps what the model's scores say is worse", "L0")
APGD_CE = Named("APGD-CE", "climbs the cross-entropy with steps that halve by themselves", _LEVELS)
APGD_T = Named("APGD-T", "goes towards each of the likeliest other classes; four classes or more", _LEVELS)
APGD_DLR = Named("APGD-DLR", "climbs a ratio of logits instead; three classes", _LEVELS)
FAB_T = Named("FAB-T", "looks for the nearest wrong picture, and goes on in its direction", _LEVELS)
GUESSED = Named("guessed keys", "APGD-CE on the model under keys that are guessed, one by one", "L2")
EOT = Named("EOT", "APGD-CE on several guessed keys at once (expectation over them)", "L2")
BY_GRADIENT = (APGD_CE, APGD_T, APGD_DLR, FAB_T)
ROBUSTNESS = (SQUARE, *BY_GRADIENT, GUESSED, EOT)

# On keyed models and locked detectors: use without the key.
FILES, LABELLED = "the files", "the files, some labels"
WRONG_KEYS = Named("wrong keys", "takes keys at random", FILES)
DISPLACED = Named("displaced places", "has the right key but for some places", "most of the key")
SEARCH = Named("search", "exchanges two places wherever that makes the loss smaller", LABELLED)
ADAPTER = Named("linear layer", "trains a linear layer in the key's place", LABELLED)
TUNING = Named("fine-tuning", "goes on training all weights without the key", LABELLED)
SCRATCH = Named(
    "from scratch",
    "trains a network of the same shape, without the model: for comparison",
    "labelled pictures",
)
MATCHING = Named(
    "weight matching", "estimates the permutation from the public network's weights; keyed models",
    "the public network",
)  # fmt: skip
THEFT = (WRONG_KEYS, DISPLACED, SEARCH, ADAPTER, TUNING, SCRATCH, MATCHING)

# On locked models, by the record of a run that has their figures.
BY_RECORD = {"robustness": ROBUSTNESS, "theft": THEFT}
MODELS = (*ROBUSTNESS, *THEFT)
# By what they attack, as a list shows them.
GROUPS: Mapping[str, Sequence[Named[str] | Named[Has]]] = {
    "scrambled": PICTURES,
    "learned": LEARNED,
    "neuracrypt": SETS,
    "instahide": MIXES,
    "robustness": ROBUSTNESS,
    "theft": THEFT,
}


def named(word: str, group: Iterable[Named[H]] = PICTURES) -> Named[H] | None:  # type: ignore[assignment]
    """Return the attack of this name in a group, with spaces or dashes, or None."""
    return next((one for one in group if one.word == typed(word)), None)


def among(one: Named[str], wanted: Collection[str]) -> bool:
    """Tell whether an attack is among those that are wanted, by name; where none is named, all are."""
    return not wanted or one.name in wanted


def unfitting(word: str, fitting: Iterable[str], where: str) -> UsageError:
    """Return the error of an attack that does not suit what it is asked to attack."""
    words = ", ".join(typed(one) for one in fitting)
    fix = f"take one of {words}; `noli attack` says what each needs" if words else "no single attack suits it"
    return UsageError(f"{word} is no attack on this, or an option leaves it out.", where=where, fix=fix)
