"""All attacks that a scheme has to stand, as one list: what the attacker has, and what he does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from noli.core.attacks import CHOSEN, JIGSAW, LEADING_BIT, LEAST_DIFFERENCE, ONE_PAIR, STATISTICS
from noli.core.audit import Has
from noli.ops.decipher import brightness, jigsaw, pairs, places, statistics
from noli.ops.decipher.scores import COLOURS
from noli.ops.decipher.statistics import Images
from noli.ops.schemes import SchemeName
from noli.ops.scramble import Scramble, unscramble

# Pictures that are put together block by block; each takes up to seconds.
MOST = 20
# Values of a block that quadratic assignment can place, and up to which it is tried from several starts.
LARGEST, QUICK = 768, 192
# Where every place is assigned by itself: the same, places at most (minutes), and pictures at least.
SMALL, PLACES, LEAST = 64, 4096, 10
Alike = Literal["none", "sign", "picture", "pictures", "listed"]
# Of these the best answer counts for all pictures together.
TOGETHER = ("listed", "pictures")
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """What is attacked.

    Attributes:
        scheme: Which it is.
        block: Side of a block in pixels.
        fresh: Whether every picture has a key of its own.
        plain: ``[N, H, W, C]``, whole blocks: what attacks are scored by, and one of them a known pair.
        scrambled: The same pictures scrambled.
        public: ``[M, H', W', C]``, other pictures.
        oracle: Scrambles pictures of the attacker's choice under some key.
        seconds: CPU seconds after which no further picture is begun where each is attacked by itself, and no
            further random start is made where all are attacked together.
    """

    scheme: SchemeName
    block: int
    fresh: bool
    plain: Images
    scrambled: Images
    public: Images
    oracle: pairs.Oracle
    seconds: float = 60.0


@dataclass(frozen=True)
class Found:
    """What an attack brings back.

    Attributes:
        images: ``[n, H, W, C]``: pictures in plain, as the attacker takes them to be.
        truth: ``[n, H, W, C]``: what they are.
        alike: Which further pictures he could not tell apart from each: none; its negative; all turns, signs
            and orders of colours of it (``picture``), or of all pictures alike (``pictures``); or those in
            `others`.
        others: Further answers that are as good for him, one array ``[n, H, W, C]`` each.
        high: Whether only the high halves of bytes were looked for.
        block: With ``picture``: the pictures may also be shifted by whole blocks.
        units: How many parts the key moves, where the attack looks for the key.
        choices: Ways in which a part can come out where it stands.
        note: What has to be known of this very answer; may be empty.
    """

    images: Images
    truth: Images
    alike: Alike = "none"
    others: tuple[Images, ...] = ()
    high: bool = False
    block: int = 0
    units: int = 0
    choices: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name, about: What it is called, and what it does in plain words.
        has: What the attacker has beside the scrambled pictures.
        run: Does it.
        note: What has to be known to read its figures.
    """

    name: str
    about: str
    has: Has
    run: Callable[[Target], Found]
    note: str = ""


def attacks(target: Target) -> Iterator[Attack]:
    """Iterate over the attacks that suit a scheme, those that need least first."""
    if target.scheme == "pixel":
        yield Attack(*LEADING_BIT, _leading_bit, "its negative counts as well")
        yield Attack(*LEAST_DIFFERENCE, _least_difference)
    if target.scheme == "etc":
        note = "of the whole picture the best turn, sign, order of colours and shift by blocks counts"
        yield Attack(*JIGSAW, _jigsaw, note)
    values = target.block**2 * target.plain.shape[3]
    if target.scheme in ("shf", "np", "le") and values <= LARGEST:
        many = "each picture by itself" if target.fresh else "all pictures together"
        how = STATISTICS._replace(about=f"{STATISTICS.about}, {many}")
        yield Attack(*how, _statistics, "the best of the symmetries counts: at most 6.6 bits")
    count = target.plain.shape[1] * target.plain.shape[2] // target.block**2
    alone = target.fresh or len(target.plain) < LEAST
    if target.scheme == "ele" and not alone and values <= SMALL and count <= PLACES:
        about = "matches each place over all pictures with public ones, then puts blocks together"
        note = "the best turn, sign and order of colours for all pictures together counts"
        yield Attack(*STATISTICS._replace(about=about), _by_places, note)
    if target.fresh:
        return
    if target.scheme != "ele":
        yield Attack(*ONE_PAIR, _one_pair)
    yield Attack(*CHOSEN, _chosen)


def _leading_bit(target: Target) -> Found:
    return Found(brightness.leading_bit(target.scrambled), target.plain, "sign")


def _least_difference(target: Target) -> Found:
    return Found(brightness.least_difference(target.scrambled), target.plain)


def _jigsaw(target: Target) -> Found:
    some = target.scrambled[:MOST]
    back = list(_within(target.seconds, (unscramble(o[None], jigsaw.solve(o, target.block)) for o in some)))
    some = some[: len(back)]
    count = some.shape[1] * some.shape[2] // target.block**2
    choices = 96.0 if some.shape[3] >= 3 else 16.0
    return Found(
        np.concatenate(back),
        target.plain[: len(some)],
        "picture",
        block=target.block,
        units=count,
        choices=choices,
    )


def _statistics(target: Target) -> Found:
    rng = np.random.default_rng(0)
    scheme: Literal["shf", "np", "le"] = target.scheme  # type: ignore[assignment]
    groups = list(target.scrambled[:, None]) if target.fresh else [target.scrambled]
    restarts = 10 if target.block**2 * target.plain.shape[3] <= QUICK else 0
    # Where each picture is attacked by itself, the last one is not cut short.
    until = np.inf if target.fresh else time.process_time() + target.seconds
    tried = (
        statistics.recover(scheme, group, target.public, target.block, rng, restarts=restarts, until=until)
        for group in groups
    )
    found = list(_within(target.seconds, tried))
    listed = zip(*([statistics.put_back(group, how) for how in one.alike]
                   for group, one in zip(groups, found, strict=False)), strict=True)  # fmt: skip
    images = np.concatenate([one.images for one in found])
    values = target.block**2 * images.shape[3]
    note = _short(target) if restarts and time.process_time() > until else ""
    return Found(
        images, target.plain[: len(images)], "listed", tuple(np.concatenate(one) for one in listed),
        high=scheme == "le", units=values * (2 if scheme == "le" else 1),
        choices=1.0 if scheme == "shf" else 2.0, note=note,
    )  # fmt: skip


def _by_places(target: Target) -> Found:
    begun, rng = time.process_time(), np.random.default_rng(0)
    how = places.recover(target.scrambled, target.public, target.block, rng, target.seconds)
    short = time.process_time() - begun > places.WITHIN * target.seconds
    back = statistics.put_back(target.scrambled, how)
    note = _short(target) if short else ""
    return Found(back, target.plain, "pictures", high=True, units=how.units, choices=2.0, note=note)


def _short(target: Target) -> str:
    return f"{target.seconds:g} CPU seconds may have cut it short: more may bring back more"


def _within(seconds: float, work: Iterator[T]) -> Iterator[T]:
    """Pass results on until the time is out; the first one always."""
    begun = time.process_time()
    for one in work:
        yield one
        if time.process_time() - begun > seconds:
            return


def _one_pair(target: Target) -> Found:
    how = pairs.known(target.scheme, target.plain[:1], target.scrambled[:1], target.block)
    rest = slice(1, None) if len(target.plain) > 1 else slice(None)
    return Found(unscramble(target.scrambled[rest], how), target.plain[rest], units=_units(target, how))


def _chosen(target: Target) -> Found:
    shape = (target.plain.shape[1], target.plain.shape[2], target.plain.shape[3])
    if target.scheme == "ffx":
        how = pairs.chosen_table(target.oracle, shape, target.block)
    else:
        how = pairs.chosen(target.oracle, shape, halves=target.scheme in ("le", "ele"))
    return Found(unscramble(target.oracle(target.plain), how), target.plain, units=_units(target, how))


def _units(target: Target, how: Scramble) -> int:
    alike = target.scheme in ("shf", "np", "ffx", "le")
    return target.block**2 * how.shape[2] * (2 if how.halves else 1) if alike else how.units


def variants(found: Found) -> Iterator[Images]:
    """Iterate over all answers that are as good for the attacker, his own first.

    Where blocks were put together, each is shifted to where it suits the truth best, as an eye would.
    """
    yield found.images
    if found.alike == "sign":
        yield 255 - found.images
    if found.alike == "listed":
        yield from found.others
    if found.alike == "picture":
        for answer in whole_pictures(found.images):
            yield shifted(answer, found.truth, found.block)
    if found.alike == "pictures":
        yield from whole_pictures(found.images)


def whole_pictures(images: Images) -> Iterator[Images]:
    """Iterate over turns, signs and orders of colours of whole pictures; those that fit their size."""
    colours = COLOURS if images.shape[3] == 3 else np.arange(images.shape[3])[None]
    square = images.shape[1] == images.shape[2]
    for flipped in (images, images[:, :, ::-1]):
        for quarter in range(0, 4, 1 if square else 2):
            turned = np.rot90(flipped, quarter, axes=(1, 2))
            for order in colours:
                yield turned[..., order]
                yield 255 - turned[..., order]


def shifted(images: Images, truth: Images, block: int) -> Images:
    """Shift pictures by whole blocks, round the edge, to where their blocks suit those of the truth best."""
    count, height, width, channels = images.shape
    grid = (count, height // block, block, width // block, block, channels)
    means = [x.reshape(grid).mean((2, 4)) - x.mean() for x in (images, truth)]
    one, other = (np.fft.fft2(mean, axes=(1, 2)) for mean in means)
    fits = np.fft.ifft2(other * one.conj(), axes=(1, 2)).real.sum(3)
    out = np.empty_like(images)
    for number, fit in enumerate(fits):
        down, right = np.unravel_index(int(fit.argmax()), fit.shape)
        out[number] = np.roll(images[number], (int(down) * block, int(right) * block), axis=(0, 1))
    return out
