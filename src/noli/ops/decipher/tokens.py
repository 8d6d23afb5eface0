"""Sets of vectors that a secret random network makes of patches: what shows without its weights.

NeuraCrypt (arXiv 2106.02484) publishes a set of vectors per picture, in an order of its own. A wide random
network keeps distances, up to what any other network of the same kind keeps: so lengths and distances of the
vectors of a picture are nearly those that the attacker gets with weights of his own. And the random vector
that is added for every place marks the place, so that the order comes back by grouping. Both observations
are ours; what is built on them is in :mod:`.rematch`.

Codes ``[N, P, D]``: N pictures, P patches, D values per patch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from noli.core.errors import DataError

Floats = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]
# Directions that are kept of codes, vectors that these are measured on, and quantiles of distances.
KEPT, MEASURED, QUANTILES = 256, 8192, 64
_SMALL, _ROUNDING = 1e-9, 1e-5


def reduced(codes: npt.NDArray[np.floating], most: int = KEPT) -> Floats:
    """Return codes without their mean and in their main directions, which keeps distances.

    Args:
        codes: ``[N, P, D]``.
        most: Directions at most.

    Returns:
        ``float32 [N, P, min(D, most)]``.

    Raises:
        DataError: An array of another shape, or without values.
    """
    if codes.ndim != 3 or not codes.size:
        raise DataError("The attack needs sets of codes.", why=f"got {codes.shape}", fix="give [N, P, D]")
    rows = codes.reshape(-1, codes.shape[2])
    some = rows[:: max(1, len(rows) // MEASURED)].astype(np.float32)
    mean = some.mean(axis=0)
    apart = some - mean
    _, found = np.linalg.eigh(apart.T @ apart)
    main = np.ascontiguousarray(found[:, ::-1][:, :most])
    # Picture by picture: codes may be gigabytes in float32.
    return np.stack([(one.astype(np.float32) - mean) @ main for one in codes])


def ordered(codes: Floats, rounds: int = 10) -> Order:
    """Return an order for every picture under which its codes belong to the same places in all.

    Begins with the order of the first picture; then each picture's codes go to the means of the places, one
    to each, at the least squared distance in all, until nothing changes.

    Args:
        codes: ``[N, P, D]``, as :func:`reduced` returns them.
        rounds: How often at most.

    Returns:
        ``int64 [N, P]``: code ``order[n, p]`` of picture n belongs to place p. Which place that is in the
        picture stays unknown.
    """
    count, places = codes.shape[:2]
    order: Order = np.tile(np.arange(places), (count, 1))
    means = codes[0]
    for _ in range(rounds):
        before = order.copy()
        for number, one in enumerate(codes):
            # Squares of the codes are the same in every order.
            order[number] = linear_sum_assignment((means**2).sum(1)[:, None] - 2 * means @ one.T)[1]
        if (order == before).all():
            break
        means = np.take_along_axis(codes, order[:, :, None], axis=1).mean(axis=0)
    return order


def statistics(codes: Floats) -> Floats:
    """Return what does not depend on the order of codes, nor much on the weights, per picture.

    Sorted distances of the codes from the mean of all; sorted distances between them, of which flat patches
    make the smallest; eigenvalues of their products. Each value is brought to mean 0 and spread 1 over the
    pictures.

    Args:
        codes: ``[N, P, D]``.

    Returns:
        ``float32 [N, F]``.
    """
    apart = codes - codes.mean(axis=(0, 1))
    products = apart @ apart.transpose(0, 2, 1)
    squares = np.diagonal(products, axis1=1, axis2=2)
    one, other = np.triu_indices(codes.shape[1], 1)
    between = np.sort((squares[:, :, None] + squares[:, None] - 2 * products)[:, one, other], axis=1)
    if between.shape[1] > QUANTILES:
        between = between[:, np.linspace(0, between.shape[1] - 1, QUANTILES).astype(int)]
    main = np.linalg.eigvalsh(products)[:, -16:]
    found = [standard(part) for part in (np.sort(squares, axis=1), between, main)]
    return np.concatenate(found, axis=1).astype(np.float32)


def standard(values: npt.NDArray[np.floating]) -> Floats:
    """Return columns ``[N, F]`` with mean 0 and spread 1; those that vary by rounding only become about 0."""
    least = _ROUNDING * np.abs(values).max(initial=0) + _SMALL
    found: Floats = ((values - values.mean(axis=0)) / (values.std(axis=0) + least)).astype(np.float32)
    return found


def summary(values: Floats, most: int) -> Floats:
    """Return the main components ``[N, min(N, most)]`` of rows ``[N, ...]``, each with spread 1.

    Args:
        values: One row per picture, of any shape.
        most: Components at most.
    """
    rows = values.reshape(len(values), -1)
    apart = rows - rows.mean(axis=0)
    # By products between pictures: there are far fewer of them than values.
    sizes, found = np.linalg.eigh((apart @ apart.T).astype(np.float64))
    kept = sizes[::-1][:most] > _SMALL * max(float(sizes[-1]), _SMALL)
    return np.ascontiguousarray(found[:, ::-1][:, :most][:, kept] * len(rows) ** 0.5, dtype=np.float32)
