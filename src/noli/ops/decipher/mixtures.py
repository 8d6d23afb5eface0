"""Which of InstaHide's codes share a picture, and by which weights, seen in absolute values alone.

A code is a weighted sum of k private pictures whose signs are flipped at random (arXiv 2010.02772), so that
its absolute value has all that is left. Carlini et al. (arXiv 2011.05315) train a network that tells whether
two absolute values share a picture, and group the codes by it. Here the correlation of absolute values, less
their local mean, takes the place of the network; it is the classical substitute, and the groups and weights
come from learning a dictionary in which every code is a sum of k entries (orthogonal matching pursuit, least
squares, and entries that serve badly replaced by the densest group of what is left over). What the pictures
are is solved in :mod:`.absolute`.

Labels are mixed with the weights of the pictures, and are published: they tell the weight of every class in a
code, and so which pictures can be in it, once it is known of which class a picture is.

Codes ``[M, C, S, S]``; weights ``[M, K]``, K private pictures; labels ``[M, L]``, L classes.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from noli.core.errors import DataError
from noli.ops.decipher.tokens import Order

Floats = npt.NDArray[np.float32]
WINDOW = 9
# Codes that make a group in the search for one, most values that likeness is measured in, rounds, and steps
# of learning in each.
NEAR, GROUP, SKETCH, ROUNDS, STEPS = 10, 20, 512, 5, 4
# Entries that are that much alike are one; so many of the worst are replaced in any case.
SAME, WORST = 0.35, 0.08
_SMALL, _SEEN, _LEAST = 1e-6, 1e-4, 0.02


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
    labels: Floats | None = None,
    rounds: int = ROUNDS,
    seconds: float = np.inf,
) -> Floats:
    """Return the weights of private pictures in codes, as the attacker takes them to be.

    Args:
        rows: See :func:`looks`.
        count: K, how many private pictures there are.
        mixed: k, how many are in a code.
        start: ``[K, V]``: what is known of the pictures' looks; None: they are searched for.
        labels: ``[M, L]``: mixed labels; None: they are not known, and all weights of a code sum to 1.
        rounds: How often bad entries are replaced, where they were searched for.
        seconds: CPU seconds after which no further round is begun.

    Returns:
        ``float32 [M, K]``, at most k of a row above 0; sums as the labels say.
    """
    begun = time.process_time()
    entries = _densest(rows, count) if start is None else _unit(start)
    weights = pursued(rows, entries, mixed)
    for step in range(rounds):
        if step and start is None:
            bad = _bad(weights, entries)
            left = _unit(rows - weights @ entries)
            entries[bad] = _densest(left, len(bad))
            weights = pursued(rows, entries, mixed)
        for _ in range(STEPS):
            weights = pursued(rows, entries, mixed, labels, classes_of(weights, labels))
            entries = _learned(rows, weights)
        if time.process_time() - begun > seconds:
            break
    classes = classes_of(weights, labels)
    return scaled(pursued(rows, entries, mixed, labels, classes), labels, classes)


def classes_of(weights: Floats, labels: Floats | None) -> Order | None:
    """Return the class of every picture ``int64 [K]``: the one that comes with it more than it comes at all.

    Args:
        weights: ``[M, K]``.
        labels: ``[M, L]``; None gives None.
    """
    if labels is None:
        return None
    usual = weights.sum(axis=0)[:, None] * labels.mean(axis=0)
    found: Order = (weights.T @ labels - usual).argmax(axis=1)
    return found


def scaled(weights: Floats, labels: Floats | None, classes: Order | None) -> Floats:
    """Return weights whose sums over the pictures of a class are the labels, or whose sums are 1.

    Args:
        weights: ``[M, K]``.
        labels: ``[M, L]``, or None.
        classes: ``int64 [K]``, or None.
    """
    found: Floats
    if labels is None or classes is None:
        found = weights / np.maximum(weights.sum(axis=1, keepdims=True), _SMALL)
        return found
    sums = weights @ np.eye(labels.shape[1], dtype=np.float32)[classes]
    found = weights * (labels / np.maximum(sums, _SMALL))[:, classes]
    return found


def pursued(
    rows: Floats, entries: Floats, mixed: int, labels: Floats | None = None, classes: Order | None = None
) -> Floats:
    """Return rows as sums of at most `mixed` entries with weights from 0 up (orthogonal matching pursuit).

    Args:
        rows: ``[M, V]``.
        entries: ``[K, V]``.
        mixed: Entries per row; at most K.
        labels: ``[M, L]``: every class with a label above 0 gets an entry first, others get none.
        classes: ``int64 [K]``, of the entries.

    Returns:
        ``float32 [M, K]``.
    """
    if (labels is None) != (classes is None):
        raise DataError("Labels say nothing without classes.", why="one of them is missing", fix="give both")
    products = (entries @ entries.T).astype(np.float64)
    given = (rows @ entries.T).astype(np.float64)
    sizes = np.sqrt(np.diagonal(products)) + _SMALL
    chosen = np.zeros(given.shape, bool)
    weights, left = np.zeros(given.shape), given
    every = np.arange(len(given))
    for step in range(min(mixed, len(entries))):
        closed = chosen | ~_open(chosen, labels, classes)
        chosen[every, np.where(closed, -np.inf, left / sizes).argmax(axis=1)] = True
        at = np.nonzero(chosen)[1].reshape(len(given), -1)
        inner = (
            products[at[:, :, None], at[:, None, :]] + 1e-3 * np.eye(step + 1) * sizes[at][:, :, None] ** 2
        )
        found = np.linalg.solve(inner, np.take_along_axis(given, at, axis=1)[:, :, None])[:, :, 0]
        weights[:] = 0
        # What the labels ask for has some weight.
        least = 0.0 if labels is None else _LEAST
        np.put_along_axis(weights, at, np.maximum(found, least), axis=1)
        left = given - weights @ products
    return weights.astype(np.float32)


def _open(
    chosen: npt.NDArray[np.bool_], labels: Floats | None, classes: Order | None
) -> npt.NDArray[np.bool_]:
    """Return which entries may come next in a row ``[M, K]``: of classes without one, then of all it has."""
    if labels is None or classes is None:
        return np.ones(chosen.shape, bool)
    present = labels > _SEEN
    counts = chosen.astype(np.float32) @ np.eye(labels.shape[1], dtype=np.float32)[classes]
    missing = (present & (counts == 0))[:, classes]
    found = np.where(missing.any(axis=1, keepdims=True), missing, present[:, classes])
    found &= ~chosen
    # A class of which no entry is known (any more) forbids nothing.
    found[~found.any(axis=1)] = True
    return found


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
