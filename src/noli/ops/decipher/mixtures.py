"""Which of InstaHide's codes share a picture, and by which weights, seen in absolute values alone.

A code is a weighted sum of k private pictures whose signs are flipped at random (arXiv 2010.02772), so that
its absolute value has all that is left. Carlini et al. (arXiv 2011.05315) train a network that tells whether
two absolute values share a picture, and group the codes by it. Here the correlation of absolute values, less
their local mean, takes the place of the network; it is the classical substitute, and the groups and weights
come from learning a dictionary in which every code is a sum of k entries (orthogonal matching pursuit, least
squares, and entries that serve badly replaced by the densest group of what is left over). What the pictures
are is solved in :mod:`.absolute`.

Codes ``[M, C, S, S]``; weights ``[M, K]``, K private pictures.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from noli.core.errors import DataError

Floats = npt.NDArray[np.float32]
WINDOW = 9
# Codes that make a group in the search for one, most values that likeness is measured in, rounds, and steps
# of learning in each.
NEAR, GROUP, SKETCH, ROUNDS, STEPS = 10, 20, 512, 5, 4
# Entries that are that much alike are one; so many of the worst are replaced in any case.
SAME, WORST = 0.35, 0.08
_SMALL = 1e-6


def looks(codes: npt.NDArray[np.floating]) -> Floats:
    """Return what absolute values have beyond their neighbourhood, as unit rows ``[M, C * S * S]``.

    Raises:
        DataError: An array of another shape, or without values.
    """
    if codes.ndim != 4 or not codes.size:
        raise DataError("The attack needs mixed pictures.", why=f"got {codes.shape}", fix="give [M, C, S, S]")
    size = np.abs(codes).astype(np.float32)
    rows = (size - uniform_filter(size, (0, 0, WINDOW, WINDOW))).reshape(len(size), -1)
    rows -= rows.mean(axis=0)
    rows /= rows.std(axis=0) + _SMALL
    return _unit(rows)


def weights_of(
    rows: Floats,
    count: int,
    mixed: int,
    *,
    start: Floats | None = None,
    rounds: int = ROUNDS,
    seconds: float = np.inf,
) -> Floats:
    """Return the weights of private pictures in codes, as the attacker takes them to be.

    Args:
        rows: See :func:`looks`.
        count: K, how many private pictures there are.
        mixed: k, how many are in a code.
        start: ``[K, V]``: what is known of the pictures' looks; None: they are searched for.
        rounds: How often bad entries are replaced, where they were searched for.
        seconds: CPU seconds after which no further round is begun.

    Returns:
        ``float32 [M, K]``, at most k of a row above 0, each row with sum 1 (or 0).
    """
    begun = time.process_time()
    entries = _densest(rows, count) if start is None else _unit(start)
    weights = pursued(rows, entries, mixed)
    for step in range(rounds):
        if step and start is None:
            bad = _bad(weights, entries)
            left = _unit(rows - weights @ entries)
            entries[bad] = _densest(left, len(bad))
        for _ in range(STEPS):
            weights = pursued(rows, entries, mixed)
            entries = _learned(rows, weights)
        if time.process_time() - begun > seconds:
            break
    weights = pursued(rows, entries, mixed)
    found: Floats = weights / np.maximum(weights.sum(axis=1, keepdims=True), _SMALL)
    return found


def pursued(rows: Floats, entries: Floats, mixed: int) -> Floats:
    """Return rows as sums of at most `mixed` entries with weights from 0 up (orthogonal matching pursuit).

    Args:
        rows: ``[M, V]``.
        entries: ``[K, V]``.
        mixed: Entries per row; at most K.

    Returns:
        ``float32 [M, K]``.
    """
    products = (entries @ entries.T).astype(np.float64)
    given = (rows @ entries.T).astype(np.float64)
    sizes = np.sqrt(np.diagonal(products)) + _SMALL
    chosen = np.zeros(given.shape, bool)
    weights, left = np.zeros(given.shape), given
    every = np.arange(len(given))
    for step in range(min(mixed, len(entries))):
        chosen[every, np.where(chosen, -np.inf, left / sizes).argmax(axis=1)] = True
        at = np.nonzero(chosen)[1].reshape(len(given), -1)
        inner = (
            products[at[:, :, None], at[:, None, :]] + 1e-3 * np.eye(step + 1) * sizes[at][:, :, None] ** 2
        )
        found = np.linalg.solve(inner, np.take_along_axis(given, at, axis=1)[:, :, None])[:, :, 0]
        weights[:] = 0
        np.put_along_axis(weights, at, np.maximum(found, 0), axis=1)
        left = given - weights @ products
    return weights.astype(np.float32)


def _learned(rows: Floats, weights: Floats) -> Floats:
    inner = weights.T @ weights + 1e-2 * np.eye(weights.shape[1], dtype=np.float32)
    return _unit(np.linalg.solve(inner, weights.T @ rows))


def _bad(weights: Floats, entries: Floats) -> npt.NDArray[np.int64]:
    """Return entries that another one repeats, and those whose largest weights are smallest."""
    alike = entries @ entries.T
    np.fill_diagonal(alike, 0)
    bad: set[int] = set()
    for number in np.argsort((weights**2).sum(axis=0), kind="stable"):
        twin = int(alike[number].argmax())
        if alike[number, twin] > SAME and twin not in bad:
            bad.add(int(number))
    largest = np.sort(weights, axis=0)[-3 * NEAR :].mean(axis=0)
    bad.update(int(one) for one in np.argsort(largest, kind="stable")[: round(WORST * len(entries))])
    return np.array(sorted(bad), np.int64)


def _densest(rows: Floats, count: int) -> Floats:
    """Return the means of the densest groups of rows, one after another, none from the middle of another."""
    found = np.zeros((count, rows.shape[1]), np.float32)
    sketch = rows
    if rows.shape[1] > SKETCH:
        sketch = rows @ np.random.default_rng(0).normal(size=(rows.shape[1], SKETCH)).astype(np.float32)
        sketch = _unit(sketch)
    alike = sketch @ sketch.T
    np.fill_diagonal(alike, -1)
    near = min(NEAR, max(1, len(rows) - 1))
    dense = np.partition(alike, -near, axis=1)[:, -near:].mean(axis=1)
    free = np.ones(len(rows), bool)
    for number in range(count):
        if not free.any():
            free[:] = True
        middle = int(np.where(free, dense, -2).argmax())
        around = np.argsort(-alike[middle], kind="stable")[:near]
        mean = rows[around].sum(axis=0) + rows[middle]
        fits = rows @ mean
        mean = rows[np.argsort(-fits, kind="stable")[:GROUP]].sum(axis=0)
        found[number] = mean
        free[np.argsort(-(rows @ mean), kind="stable")[: 2 * GROUP]] = False
        free[middle] = False
    return _unit(found)


def _unit(rows: Floats) -> Floats:
    found: Floats = (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + _SMALL)).astype(np.float32)
    return found
