"""Keyed randomness: ChaCha20 streams (RFC 8439) and draws from them that are the same on every machine.

No NumPy, torch or Python generator takes part: their streams may change between versions, builds and
machines, and a torch CPU seed has only 32 effective bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from pydantic import SecretBytes

from noli.core.errors import UsageError

Floats = npt.NDArray[np.float64]
_ZEROS = bytes(1 << 16)


class Stream:
    """The ChaCha20 keystream of one 32-byte seed, read from its start and never rewound.

    Every draw advances the position, byte-exact and little-endian; drawing n values and then m values
    gives the same as drawing n + m (for :meth:`normal` when n is even, for :meth:`bits` when 8 divides n).
    Make one with :meth:`noli.core.key.Key.stream`. Not picklable, not thread-safe.
    """

    __slots__ = ("_cipher",)

    def __init__(self, seed: SecretBytes) -> None:
        # Block counter 0 and nonce 0: every stream has a key of its own.
        self._cipher = Cipher(ChaCha20(seed.get_secret_value(), bytes(16)), mode=None).encryptor()

    def bytes(self, n: int) -> bytes:
        """Return the next `n` keystream bytes."""
        return self._cipher.update(bytes(n))

    def u32(self, n: int) -> npt.NDArray[np.uint32]:
        """Return `n` uniform 32-bit words, 4 bytes each."""
        return np.frombuffer(self.bytes(4 * n), dtype="<u4").astype(np.uint32)

    def u64(self, n: int) -> npt.NDArray[np.uint64]:
        """Return `n` uniform 64-bit words, 8 bytes each."""
        drawn = bytearray(8 * n)
        room = memoryview(drawn)
        # Piece by piece into one array: megabytes of zeros and copies cost more than the cipher.
        for start in range(0, len(room), len(_ZEROS)):
            piece = room[start : start + len(_ZEROS)]
            self._cipher.update_into(_ZEROS[: len(piece)], piece)
        return np.frombuffer(drawn, "<u8").astype(np.uint64, copy=False)

    def uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """Return `n` float64 values ``low + (high - low) * (u64 >> 11) / 2^53``, 8 bytes each.

        They lie in [low, high); rounding can reach `high` itself unless the range is [0, 1).
        """
        unit = (self.u64(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        values: Floats = unit * (high - low) + low
        return values

    def bits(self, n: int) -> npt.NDArray[np.bool_]:
        """Return `n` uniform bits from ``ceil(n / 8)`` bytes, the lowest bit of each first."""
        drawn = np.frombuffer(self.bytes(-(-n // 8)), np.uint8)
        return np.unpackbits(drawn, count=n, bitorder="little").astype(bool)

    def integers(self, n: int, bound: int) -> npt.NDArray[np.int64]:
        """Return `n` unbiased integers in [0, bound), 1 <= bound <= 2^63, by rejection.

        A word r (32 bits for bounds up to 2^32, else 64) is used when ``r < W - W mod bound`` with
        W = 2^32 or 2^64, and gives ``r mod bound``; otherwise the next word is tried.
        """
        if not 1 <= bound <= 2**63:
            raise UsageError("The bound of random integers must be from 1 to 2^63.", why=f"got {bound}")
        draw, words = (self.u32, 2**32) if bound <= 2**32 else (self.u64, 2**64)
        last = np.uint64(words - words % bound - 1)
        kept = np.zeros(0, np.uint64)
        # As many words as are missing: never one more than a word-by-word loop would take.
        while kept.size < n:
            more = draw(n - kept.size).astype(np.uint64)
            kept = np.concatenate([kept, more[more <= last]])
        return (kept % np.uint64(bound)).astype(np.int64)

    def choice(self, k: int) -> int:
        """Return one unbiased integer in [0, k)."""
        return int(self.integers(1, k)[0])

    def normal(self, n: int) -> Floats:
        """Return `n` standard normal float64 values, the same bits on every machine.

        Box-Muller on ``ceil(n / 2)`` pairs of words (16 bytes a pair): u = ((first >> 11) + 1) / 2^53,
        v = (second >> 11) / 2^53, giving sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v), in that
        order; for odd n the last sine is dropped. No magnitude exceeds 8.572.
        """
        units = self.uniform(n + n % 2).reshape(-1, 2)
        return box_muller(units[:, 0] + 2.0**-53, units[:, 1])[:n]

    def permutation(self, n: int) -> npt.NDArray[np.int64]:
        """Return a uniform permutation of ``range(n)`` by algorithm SORT.

        n 64-bit words are drawn, all of them again on a tie; the result is their argsort.
        """
        order: npt.NDArray[np.int64] = self.permutations(1, n)[0]
        return order

    def permutations(self, rows: int, n: int) -> npt.NDArray[np.int64]:
        """Return independent uniform permutations of ``range(n)``, ``[rows, n]``, by algorithm SORT.

        All ``rows * n`` words are drawn row by row, all of them again if any row has a tie.
        """
        low = np.uint64((1 << max(int(n) - 1, 0).bit_length()) - 1)
        while True:
            words = self.u64(rows * n).reshape(rows, n)
            # With its place in its lowest bits a word tells after one sort where it was: half of the work.
            marked = words & ~low
            marked |= np.arange(n, dtype=np.uint64)
            marked.sort(axis=1)
            order = marked & low
            marked |= low
            every = marked.reshape(-1)
            if not (every[1:] == every[:-1]).any():
                return order.view(np.int64)
            # Rarely are words alike but for these bits, and sorted whole.
            if np.diff(np.sort(words, axis=1), axis=1).all():
                return np.argsort(words, axis=1).astype(np.int64, copy=False)

    def permutation_fy(self, n: int) -> npt.NDArray[np.int64]:
        """Return a uniform permutation of ``range(n)`` by algorithm FY (Fisher-Yates).

        For i = n-1 ... 1 with m = i + 1: 32-bit words are drawn until r < 2^32 - (2^32 mod m), then the
        places i and r mod m are swapped. Slower than :meth:`permutation`; n at most 2^32.
        """
        order, i = list(range(n)), n - 1
        while i > 0:
            for r in self.u32(i).tolist():  # at least one word a place is still needed
                m = i + 1
                if r < 2**32 - 2**32 % m:
                    order[i], order[r % m] = order[r % m], order[i]
                    i -= 1
        return np.array(order, dtype=np.int64)

    def __repr__(self) -> str:
        return "Stream(<masked>)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A key stream cannot be pickled or copied; make it again with key.stream(...).")


# ``np.log`` and ``np.cos`` differ in the last bit between CPUs and NumPy builds. The functions below use only
# operations that IEEE 754 rounds exactly (+, -, *, /, sqrt, frexp, rint), in a fixed order.

_LOG_SERIES = tuple(1.0 / (2 * k + 1) for k in range(11))
_SIN_SERIES = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(9))
_COS_SERIES = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(10))
_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_HALF_PI = 1.5707963267948966


def exact_log(x: Floats) -> Floats:
    """Natural logarithm of positive normal float64 values; within 4e-16 relative of the true value."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return (exponent - small) * _LN2 + (2.0 * s) * _horner(_LOG_SERIES, s * s)


def exact_cos_sin_turns(v: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of ``2 pi v`` for v in [0, 1]; within 3e-16 absolute of the true value."""
    nearest = np.rint(4.0 * v)
    angle = (4.0 * v - nearest) * _HALF_PI  # the difference is exact, |angle| <= pi / 4
    square = angle * angle
    cos, sin = _horner(_COS_SERIES, square), angle * _horner(_SIN_SERIES, square)
    quadrant = nearest.astype(np.int64) & 3
    return np.choose(quadrant, [cos, -sin, -cos, sin]), np.choose(quadrant, [sin, cos, -sin, -cos])


def box_muller(u: Floats, v: Floats) -> Floats:
    """Turn uniform pairs, u in (0, 1] and v in [0, 1), both ``[n]``, into ``2 n`` standard normals.

    Output ``2 i`` is ``sqrt(-2 ln u_i) cos(2 pi v_i)``, output ``2 i + 1`` the same with the sine.
    """
    radius = np.sqrt(-2.0 * exact_log(u))
    cos, sin = exact_cos_sin_turns(v)
    return np.stack([radius * cos, radius * sin], axis=1).reshape(-1)


def _horner(coefficients: Sequence[float], x: Floats) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
