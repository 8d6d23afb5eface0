"""Key recovery from scrambled and public pictures: one permutation is found by quadratic assignment.

Values near each other in a block are alike in all pictures. So the correlations of the scrambled values,
``C_e``, are those of public pictures, ``C_p``, with rows and columns in another order, and the order with the
largest ``tr(C_e P C_p P^T)`` is the key (FAQ: Vogelstein et al., PLOS ONE 2015). Negation turns signs only:
the attack matches ``|C|`` and takes the signs from the leading vector of ``C_e * C_p``. Of halves of bytes,
the high ones carry the correlation and are found; the low ones are noise and stay unknown. No plain picture
of the scrambled ones takes part. The attack on these schemes, its extensions and the rules that pick one of
the symmetries are ours.

Images ``uint8 [N, H, W, C]``, whole blocks; public ones may have another size and number, not other channels.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import quadratic_assignment

from noli.core.errors import DataError, UsageError
from noli.ops.decipher.scores import symmetries
from noli.ops.schemes import Shape, imaged, numbered
from noli.ops.scramble import Flags, Order, Scramble, padded, then, unscramble

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Alike = Literal["shf", "np", "le"]
# Correlation between the matched off-diagonal entries of C_e and C_p that noise does not reach.
CLAIM = 0.5


class Fit(NamedTuple):
    """How the values of scrambled blocks lie to those of plain ones.

    Attributes:
        order: ``[d]``: value i of the scrambled block is value ``order[i]`` of the plain one.
        negated: ``[d]``: which values of the scrambled block are negated.
        agreement: Correlation in [-1, 1] between the matched correlations; needs no truth.
    """

    order: Order
    negated: Flags
    agreement: float


class Recovery(NamedTuple):
    """What the attack takes for the scrambling.

    Attributes:
        how: The scrambling, in the symmetry that the attack picked by itself.
        images: The scrambled images put back with it; of ``le``, with the low halves set to 8.
        alike: All symmetries of it, `how` among them; whoever knows the truth may score the best.
        agreement: See :class:`Fit`.
        claims: Whether there is structure to be found: agreement above 0.5. Noise stays below; single
            pictures of which little came back can be above.
    """

    how: Scramble
    images: Images
    alike: list[Scramble]
    agreement: float
    claims: bool


def correlations(rows: npt.NDArray[Any]) -> Floats:
    """Return correlations ``[d, d]`` of the columns of rows ``[R, d]``; 0 for those that never change."""
    centred = rows.astype(np.float64)
    centred -= centred.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    centred /= np.where(length > 0, length, 1.0)
    found: Floats = centred.T @ centred
    return found


def match(
    seen: npt.NDArray[Any],
    public: npt.NDArray[Any],
    rng: np.random.Generator,
    *,
    restarts: int = 10,
    signed: bool = False,
    until: float = np.inf,
) -> Fit:
    """Find the order of values, and their signs, from scrambled and public blocks.

    Args:
        seen: Scrambled blocks ``[R, d]`` under one key, two or more.
        public: Plain blocks ``[S, d]`` of other pictures.
        rng: Generator of the random restarts.
        restarts: Random starts beside that from the barycentre; the largest objective wins.
        signed: Whether values may be negated.
        until: See :func:`assign`.

    Raises:
        DataError: Blocks of different lengths, or fewer than two.
    """
    if seen.ndim != 2 or public.ndim != 2 or seen.shape[1] != public.shape[1]:
        why = f"shapes {seen.shape} and {public.shape}"
        raise DataError(
            "Scrambled and public blocks do not fit.", why=why, fix="cut both with the same block"
        )
    if min(len(seen), len(public)) < 2:
        why = f"{len(seen)} scrambled and {len(public)} public blocks"
        raise DataError("Correlations need two blocks or more.", why=why, fix="give more pictures")
    plain, other = correlations(public), correlations(seen)
    goal, given = (abs(plain), abs(other)) if signed else (plain, other)
    order = assign(given, goal, rng, restarts, until)
    plain = plain[np.ix_(order, order)]
    negated = leading(other * plain) if signed else np.zeros(len(order), bool)
    signs = np.where(negated, -1.0, 1.0)
    return Fit(order, negated, _agreement(other * np.outer(signs, signs), plain))


def assign(
    given: Floats, goal: Floats, rng: np.random.Generator, restarts: int, until: float = np.inf
) -> Order:
    """Return the order that maximises ``sum(given * goal[order][:, order])``: FAQ, then best exchanges.

    Args:
        given: Symmetric ``[d, d]``.
        goal: Symmetric ``[d, d]``.
        rng: Generator of the random starts.
        restarts: Random starts beside that from the barycentre.
        until: CPU time (of :func:`time.process_time`) after which no further start is made; the first is.
    """
    best, value = np.arange(len(given)), -np.inf
    for start in ["barycenter"] + ["randomized"] * restarts:
        options = {"maximize": True, "P0": start, "rng": rng}
        found = quadratic_assignment(given, goal, method="faq", options=options).col_ind
        order = _exchanged(given, goal, found)
        reached = float((given * goal[np.ix_(order, order)]).sum())
        if reached > value:
            best, value = order, reached
        if time.process_time() > until:
            break
    return best


def _exchanged(given: Floats, goal: Floats, order: Order) -> Order:
    """Exchange two places as long as that raises the objective, always those that raise it most."""
    order = order.copy()
    a = given - np.diag(np.diag(given))
    for _ in range(4 * len(order)):
        b = goal[np.ix_(order, order)]
        np.fill_diagonal(b, 0.0)
        cross = a @ b
        own = np.diag(cross)
        gain = cross + cross.T - own[:, None] - own[None] + 2 * a * b
        one, other = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[one, other] <= 1e-9:
            break
        order[[one, other]] = order[[other, one]]
    return order


def leading(product: Floats) -> Flags:
    """Return who is on which side of the leading vector of a symmetric ``[d, d]``; at most half are negative.

    The diagonal does not count.
    """
    _, vectors = np.linalg.eigh(product - np.diag(np.diag(product)))
    negative: Flags = vectors[:, -1] < 0
    return ~negative if 2 * negative.sum() > negative.size else negative


def _agreement(one: Floats, other: Floats) -> float:
    off = ~np.eye(len(one), dtype=bool)
    first, second = one[off], other[off]
    if not first.size or min(first.std(), second.std()) <= 1e-12:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def recover(
    scheme: Alike,
    images: Images,
    public: Images,
    block: int,
    rng: np.random.Generator,
    *,
    restarts: int = 10,
    until: float = np.inf,
) -> Recovery:
    """Recover the scrambling of pictures whose blocks all have the same key.

    Args:
        scheme: ``shf``, ``np`` (places are known, signs are found) or ``le`` (high halves are found).
        images: Scrambled ``uint8 [N, H, W, C]``; a single picture will do where it has blocks enough.
        public: Plain ``uint8 [M, H', W', C]`` of other pictures.
        block: Side of a block in pixels.
        rng: Generator of the random restarts.
        restarts: See :func:`match`.
        until: See :func:`assign`.

    Raises:
        DataError: Pictures that are not whole blocks of ``uint8``, of other channels, or too few blocks.
        UsageError: Another scheme.
    """
    seen, plain = block_rows(images, block), block_rows(padded(public, block), block)
    if scheme == "np":
        fit = _only_signs(seen, plain)
    elif scheme == "le":
        fit = match_halves(seen, plain, rng, restarts=restarts, until=until)
    elif scheme == "shf":
        fit = match(seen, plain, rng, restarts=restarts, until=until)
    else:
        why = f"got {scheme!r}"
        raise UsageError("This attack is for blocks under one key.", why=why, fix="take shf, np or le")
    how = alike_blocks(images.shape[1:], block, fit.order, fit.negated, halves=scheme == "le")
    listed = candidates(how, block, moved=scheme != "np", signed=scheme != "shf")
    best = listed[pick(listed, images, public, block)]
    restored = put_back(images, best)
    return Recovery(best, restored, listed, fit.agreement, fit.agreement > CLAIM)


def block_rows(images: Images, block: int) -> Images:
    """Return the values of all blocks of all images, ``uint8 [blocks, block * block * C]``.

    Raises:
        DataError: Images that are not whole blocks of ``uint8 [N, H, W, C]``.
    """
    shape = images.shape[1:]
    if images.ndim != 4 or images.dtype != np.uint8 or shape[0] % block or shape[1] % block:
        raise DataError(
            "The attack needs 8-bit pictures of whole blocks.",
            why=f"got {images.dtype} {images.shape} for blocks of {block}",
            fix="give uint8 [N, H, W, C], with sides that the block divides",
        )
    ids = numbered((shape[0], shape[1], shape[2]), block)
    rows: Images = images.reshape(len(images), -1)[:, ids].reshape(-1, ids.shape[1])
    return rows


def halves_of(rows: Images) -> Images:
    """Return the halves of bytes ``[R, d]``, all high ones, then all low ones, ``[R, 2 d]``."""
    return np.concatenate([rows >> 4, rows & 15], axis=1)


def match_halves(
    seen: Images,
    public: Images,
    rng: np.random.Generator,
    *,
    restarts: int = 10,
    until: float = np.inf,
) -> Fit:
    """Find which halves of scrambled bytes are high ones, where they belong, and their signs.

    Args:
        seen: Scrambled blocks ``uint8 [R, d]`` under one key.
        public: Plain blocks ``uint8 [S, d]``.
        rng: Generator of the random restarts.
        restarts: See :func:`match`.
        until: See :func:`assign`.

    Returns:
        Order and signs of all ``2 d`` halves; those of the low ones are arbitrary.
    """
    values = seen.shape[1]
    halves = halves_of(seen)
    # High halves go along with all others, low ones with none.
    weight = (correlations(halves) ** 2).sum(axis=1)
    high = np.sort(np.argsort(-weight, kind="stable")[:values])
    low = np.setdiff1d(np.arange(2 * values), high)
    fit = match(halves[:, high], public >> 4, rng, restarts=restarts, signed=True, until=until)
    order, negated = np.empty(2 * values, np.int64), np.zeros(2 * values, bool)
    order[high], order[low] = fit.order, np.arange(values, 2 * values)
    negated[high] = fit.negated
    return Fit(order, negated, fit.agreement)


def alike_blocks(
    shape: tuple[int, ...], block: int, order: Order, negated: Flags, *, halves: bool = False
) -> Scramble:
    """Return the scrambling that treats every block of an image alike.

    Args:
        shape: Height, width and channels of the images.
        block: Side of a block in pixels.
        order: ``[d]``, or ``[2 d]`` for halves: unit i of a block is unit ``order[i]`` of the plain block.
        negated: Which units are negated, of the same length.
        halves: Whether units are halves of bytes.
    """
    size: Shape = (shape[0], shape[1], shape[2])
    ids = numbered(size, block)
    every = np.concatenate([ids, ids + ids.size], axis=1) if halves else ids
    flags = np.repeat(negated[None], len(ids), axis=0)
    return Scramble(size, imaged(every[:, order], size, block), imaged(flags, size, block), halves)


def candidates(how: Scramble, block: int, *, moved: bool = True, signed: bool = False) -> list[Scramble]:
    """List the scramblings that statistics cannot tell from one: turns, orders of colours, negation.

    Args:
        how: What was found; it comes first.
        block: Side of a block in pixels.
        moved: Whether values change places at all; if not, turns and colours are known.
        signed: Whether all values together may be negated.
    """
    orders = symmetries(block, how.shape[2])[: None if moved else 1]
    listed = []
    for sign in (False, True)[: 1 + signed]:
        for order in orders:
            changed = alike_blocks(how.shape, block, order, np.full(len(order), sign))
            listed.append(then(changed, how))
    return listed


def put_back(images: Images, how: Scramble) -> Images:
    """Return images put back; of halves, the high ones, with 8 for the low ones, which are noise."""
    back: Images = unscramble(images, how)
    if how.halves:
        back &= 0xF0
        back |= 8
    return back


def pick(listed: list[Scramble], images: Images, public: Images, block: int) -> int:
    """Return which candidate the attack itself takes, without any truth.

    The turn is the one under which neighbouring blocks continue each other; then the sign and the order of
    colours those whose means, spreads and correlations of colours come closest to the public pictures'.

    Args:
        listed: See :func:`candidates`.
        images: Scrambled images.
        public: Plain images of other pictures.
        block: Side of a block in pixels.
    """
    goal, found = _colour_moments(public), []
    for how in listed:
        back = put_back(images, how)
        found.append((_seams(back, block), float(np.linalg.norm(_colour_moments(back) - goal))))
    least = min(seam for seam, _ in found)
    # Colours and signs do not change seams; turns that change them by rounding only count as equal.
    near = [i for i, (seam, _) in enumerate(found) if seam <= least * (1 + 1e-9) + 1e-9]
    return min(near, key=lambda i: found[i][1])


def _seams(images: Images, block: int) -> float:
    """Return the mean step across borders of blocks, in levels; 0 where there are none."""
    x = images.astype(np.int16)
    down = abs(x[:, block::block] - x[:, block - 1 : -1 : block])
    across = abs(x[:, :, block::block] - x[:, :, block - 1 : -1 : block])
    count = down.size + across.size
    return float((down.sum() + across.sum()) / count) if count else 0.0


def _colour_moments(images: Images) -> Floats:
    """Return means, spreads and correlations of the colours, on scales of about one."""
    pixels = images.reshape(-1, images.shape[3]).astype(np.float64) / 255.0
    mean, spread = pixels.mean(axis=0), pixels.std(axis=0)
    found: Floats = np.concatenate([mean, spread, correlations(pixels).reshape(-1)])
    return found


def _only_signs(seen: Images, public: Images) -> Fit:
    """Find which values are negated where all are at their places."""
    one, other = correlations(seen), correlations(public)
    negated = leading(one * other)
    signs = np.where(negated, -1.0, 1.0)
    return Fit(np.arange(len(one)), negated, _agreement(one * np.outer(signs, signs), other))
