"""Pictures from the absolute values of known mixtures: ``|W X| = Y``, solved for X value by value.

For every value (pixel and colour) of the pictures, weights W ``[M, K]`` and absolute values Y ``[M]`` give K
unknowns up to one sign. Squares tell how pictures agree: ``y^2 = sum w_i^2 x_i^2 + 2 sum w_i w_j x_i x_j``
is linear in the products, and products are smooth over the picture, so that noise is averaged out; the main
eigenvector of the products is the start. Then signs of ``W X`` and least squares take turns. The signs of
values beside each other follow from each other, as neighbours are alike in all pictures, up to one sign of
all: a negative. The way is ours; Carlini et al. (arXiv 2011.05315) descend a gradient.

Pictures ``[K, C, S, S]``, as they were mixed (normalised); codes ``[M, C, S, S]``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from noli.core.errors import DataError
from noli.ops.decipher.mixtures import Floats, classes_of, pursued, scaled

TURNS, POWERS, BLUR = 30, 30, 1.0
# What is added to sums of squares of weights: few of them say little.
_DAMP, _LEAST, _SMALL = 0.02, 0.05, 1e-9


def solved(codes: Floats, weights: Floats, turns: int = TURNS) -> Floats:
    """Return pictures whose mixtures have the absolute values of the codes.

    Args:
        codes: ``[M, C, S, S]``; signs do not matter.
        weights: ``[M, K]``; M should be several times K.
        turns: How often signs and least squares take turns.

    Returns:
        ``float32 [K, C, S, S]``, or the negative of all.

    Raises:
        DataError: Shapes that do not go together.
    """
    if codes.ndim != 4 or weights.ndim != 2 or len(codes) != len(weights):
        why = f"got codes {codes.shape} and weights {weights.shape}"
        raise DataError("Every code needs its weights.", why=why, fix="give [M, C, S, S] and [M, K]")
    shape = (weights.shape[1], *codes.shape[1:])
    size = np.abs(codes.reshape(len(codes), -1)).astype(np.float32)
    start = _started(size, weights.astype(np.float64), (codes.shape[1], codes.shape[2], codes.shape[3]))
    found = _turned(size, weights, one_sign(start.reshape(shape)).reshape(shape[0], -1), turns)
    return one_sign(found.reshape(shape))


def refined(
    codes: Floats,
    weights: Floats,
    pictures: Floats,
    mixed: int,
    *,
    labels: Floats | None = None,
    rounds: int = 10,
) -> tuple[Floats, Floats]:
    """Find weights again by the pictures that were solved for, and pictures by these; return both.

    Args:
        codes: As for :func:`solved`.
        weights: What it was given.
        pictures: What it returned.
        mixed: k, how many pictures are in a code.
        labels: See :func:`noli.ops.decipher.mixtures.weights_of`.
        rounds: How often.
    """
    size = np.abs(codes.reshape(len(codes), -1)).astype(np.float32)
    flat = pictures.reshape(len(pictures), -1)
    for _ in range(rounds):
        signed = np.where(weights @ flat < 0, -size, size)
        classes = classes_of(weights, labels)
        weights = scaled(pursued(signed, flat, mixed, labels, classes), labels, classes)
        flat = _turned(size, weights, flat, 2)
    return weights, one_sign(flat.reshape(pictures.shape))


def one_sign(pictures: Floats) -> Floats:
    """Flip values, each in all pictures together, so that neighbours go along with each other.

    The joints between pixels beside each other and between colours that agree or disagree most clearly are
    followed (a spanning tree); the first value keeps its sign.

    Args:
        pictures: ``[K, C, S, S]``.
    """
    flat = pictures.reshape(len(pictures), -1)
    unit = flat / (np.linalg.norm(flat, axis=0) + _SMALL)
    ids = np.arange(flat.shape[1]).reshape(pictures.shape[1:])
    sides = [(ids[:, :, :-1], ids[:, :, 1:]), (ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])]
    one, other = (np.concatenate([side[end].ravel() for side in sides]) for end in (0, 1))
    agree = (unit[:, one] * unit[:, other]).sum(axis=0)
    graph = coo_matrix((1.001 - np.abs(agree).clip(max=1), (one, other)), shape=(ids.size, ids.size))
    tree = minimum_spanning_tree(graph.tocsr())
    order, before = breadth_first_order(tree, 0, directed=False)
    signs = np.ones(ids.size, np.float32)
    for place in order[1:]:
        along = float(unit[:, place] @ unit[:, before[place]])
        signs[place] = signs[before[place]] * (1 if along >= 0 else -1)
    found: Floats = (flat * signs).reshape(pictures.shape).astype(np.float32)
    return found


def _turned(size: Floats, weights: Floats, flat: Floats, turns: int) -> Floats:
    """Let signs of the mixtures and least squares for the pictures take turns."""
    inner = weights.T @ weights + _DAMP * np.eye(weights.shape[1], dtype=np.float32)
    back = np.linalg.solve(inner, weights.T)
    signs: npt.NDArray[np.bool_] = weights @ flat < 0
    for _ in range(turns):
        flat = np.asarray(back @ np.where(signs, -size, size), np.float32)
        before, signs = signs, weights @ flat < 0
        if (signs == before).all():
            break
    return flat


def _started(size: Floats, weights: np.ndarray, shape: tuple[int, int, int]) -> Floats:
    """Return the main eigenvector of the products of the pictures, for every value ``[K, V]``."""
    count, squares = weights.shape[1], size.astype(np.float64) ** 2
    inner = weights**2
    own = np.linalg.solve(inner.T @ inner + 0.1 * np.eye(count), inner.T @ squares)
    own = np.maximum(own, _LEAST)
    one, other, products = _pairs(weights, squares - inner @ own)
    smooth = gaussian_filter(products.reshape(-1, *shape), (0, 0, BLUR, BLUR)).reshape(len(one), -1)
    found = np.empty((count, size.shape[1]), np.float32)
    table = np.zeros((count, count), np.float32)
    first = np.random.default_rng(0).normal(0, 1, (count,)).astype(np.float32)
    for value in range(size.shape[1]):
        table[one, other] = table[other, one] = smooth[:, value]
        np.fill_diagonal(table, own[:, value])
        vector = first
        for _ in range(POWERS):
            vector = table @ vector
            vector /= np.linalg.norm(vector) + _SMALL
        found[:, value] = vector * float(own[:, value].sum()) ** 0.5
    return found


def _pairs(weights: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of pictures that are mixed somewhere, and the products of their values ``[pairs, V]``."""
    count = weights.shape[1]
    together, rows = [], []
    for number, row in enumerate(weights):
        at = np.nonzero(row)[0]
        one, other = np.triu_indices(len(at), 1)
        together.append((at[one], at[other]))
        rows.append(np.full(len(one), number))
    one, other = (np.concatenate([pair[end] for pair in together]).astype(np.int64) for end in (0, 1))
    row = np.concatenate(rows)
    both = weights[row, one] * weights[row, other]
    kinds, which = np.unique(one * count + other, return_inverse=True)
    sums = coo_matrix((both, (which, row)), shape=(len(kinds), len(weights))).tocsr() @ left
    known = np.bincount(which, 2 * both**2, minlength=len(kinds)) + _DAMP
    return kinds // count, kinds % count, np.asarray(sums / known[:, None], np.float32)
