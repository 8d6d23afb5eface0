"""Keyed randomness: HKDF-SHA256 (RFC 5869) and ChaCha20 streams (RFC 8439).

No NumPy, torch or Python generator takes part: their streams may change between versions, builds and
machines, and a torch CPU seed has only 32 effective bits.
"""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from noli.core.errors import UsageError
from noli.core.keymath import box_muller
from noli.core.keysecret import Secret

_NONCE: Final = bytes(16)  # block counter 0 and nonce 0: every stream has a key of its own
_TO_UNIT: Final = 2.0**-53
_HASH_BYTES: Final = 32


def hkdf_extract(salt: bytes, secret: Secret) -> Secret:
    """Return HKDF-Extract(salt, secret), 32 bytes; an empty salt stands for 32 zero bytes."""
    return Secret(hmac.digest(salt, secret.reveal(), "sha256"))


def hkdf_expand(prk: Secret, info: bytes, length: int = _HASH_BYTES) -> Secret:
    """Return HKDF-Expand(prk, info, length).

    Raises:
        UsageError: `length` is outside 0..8160.
    """
    if not 0 <= length <= 255 * _HASH_BYTES:
        raise UsageError("HKDF-SHA256 gives at most 8160 bytes.", why=f"asked for {length}")
    block, output = Secret(b""), Secret(b"")
    for counter in range(1, -(-length // _HASH_BYTES) + 1):
        block = Secret(hmac.digest(prk.reveal(), block.reveal() + info + bytes([counter]), "sha256"))
        output = Secret(output.reveal() + block.reveal())
    return Secret(output.reveal()[:length])


class Stream:
    """The ChaCha20 keystream of one 32-byte seed, read from its start and never rewound.

    Every draw advances the position, byte-exact and little-endian; drawing n values and then m values
    gives the same as drawing n + m (for :meth:`normal` when n is even). Make one with
    :meth:`noli.core.key.Key.stream`. Not picklable, not thread-safe.
    """

    __slots__ = ("_cipher",)

    def __init__(self, seed: Secret) -> None:
        self._cipher = Cipher(ChaCha20(seed.reveal(), _NONCE), mode=None).encryptor()

    def bytes(self, n: int) -> bytes:
        """Return the next `n` keystream bytes."""
        if n < 0:
            _refuse_count(n)
        return self._cipher.update(bytes(n))

    def u32(self, n: int) -> npt.NDArray[np.uint32]:
        """Return `n` uniform 32-bit words, 4 bytes each."""
        return np.frombuffer(self.bytes(4 * n), dtype="<u4").astype(np.uint32)

    def u64(self, n: int) -> npt.NDArray[np.uint64]:
        """Return `n` uniform 64-bit words, 8 bytes each."""
        return np.frombuffer(self.bytes(8 * n), dtype="<u8").astype(np.uint64)

    def uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> npt.NDArray[np.float64]:
        """Return `n` float64 values ``low + (high - low) * (u64 >> 11) / 2^53``, 8 bytes each.

        They lie in [low, high); rounding can reach `high` itself unless the range is [0, 1).
        """
        unit = (self.u64(n) >> np.uint64(11)).astype(np.float64)
        unit *= _TO_UNIT
        if low == 0.0 and high == 1.0:
            return unit
        unit *= high - low
        unit += low
        return unit

    def integers(self, n: int, bound: int) -> npt.NDArray[np.int64]:
        """Return `n` unbiased integers in [0, bound), 1 <= bound <= 2^63, by rejection.

        A word r (32 bits for bounds up to 2^32, else 64) is used when ``r < W - W mod bound`` with
        W = 2^32 or 2^64, and gives ``r mod bound``; otherwise the next word is tried.
        """
        if not 1 <= bound <= 2**63:
            raise UsageError("The bound of random integers must be from 1 to 2^63.", why=f"got {bound}")
        draw, words = (self.u32, 2**32) if bound <= 2**32 else (self.u64, 2**64)
        last = np.uint64(words - words % bound - 1)
        kept = draw(n).astype(np.uint64)
        kept = kept[kept <= last]
        # As many words as are missing: never one more than a word-by-word loop would take.
        while kept.size < n:
            more = draw(n - kept.size).astype(np.uint64)
            kept = np.concatenate([kept, more[more <= last]])
        return (kept % np.uint64(bound)).astype(np.int64)

    def choice(self, k: int) -> int:
        """Return one unbiased integer in [0, k)."""
        return int(self.integers(1, k)[0])

    def normal(self, n: int) -> npt.NDArray[np.float64]:
        """Return `n` standard normal float64 values, the same bits on every machine.

        Box-Muller on ``ceil(n / 2)`` pairs of words (16 bytes a pair): u = ((first >> 11) + 1) / 2^53,
        v = (second >> 11) / 2^53, giving sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v), in that
        order; for odd n the last sine is dropped. Logarithm, cosine and sine are those of
        :mod:`noli.core.keymath`. No magnitude exceeds 8.572.
        """
        if n < 0:
            _refuse_count(n)
        pairs = (self.u64(n + n % 2) >> np.uint64(11)).astype(np.float64).reshape(-1, 2)
        return box_muller((pairs[:, 0] + 1.0) * _TO_UNIT, pairs[:, 1] * _TO_UNIT)[:n]

    def permutation(self, n: int) -> npt.NDArray[np.int64]:
        """Return a uniform permutation of ``range(n)`` by algorithm SORT.

        n 64-bit words are drawn, all of them again on a tie; the result is their stable argsort.
        """
        while True:
            words = self.u64(n)
            order = np.argsort(words, kind="stable")
            ranked = words[order]
            if not np.any(ranked[1:] == ranked[:-1]):
                return order.astype(np.int64)

    def permutation_fy(self, n: int) -> npt.NDArray[np.int64]:
        """Return a uniform permutation of ``range(n)`` by algorithm FY (Fisher-Yates).

        For i = n-1 ... 1 with m = i + 1: 32-bit words are drawn until r < 2^32 - (2^32 mod m), then the
        places i and r mod m are swapped. Slower than :meth:`permutation`; n at most 2^32.
        """
        if n < 0:
            _refuse_count(n)
        order = list(range(n))
        i = n - 1
        while i >= 1:
            for r in self.u32(i).tolist():  # at most one word a place is still needed
                m = i + 1
                if r < 2**32 - 2**32 % m:
                    j = r % m
                    order[i], order[j] = order[j], order[i]
                    i -= 1
        return np.array(order, dtype=np.int64)

    def __repr__(self) -> str:
        return "Stream(<masked>)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A key stream cannot be pickled or copied; make it again with key.stream(...).")


def _refuse_count(n: int) -> NoReturn:
    raise UsageError("A stream cannot give a negative number of values.", why=f"asked for {n}")
