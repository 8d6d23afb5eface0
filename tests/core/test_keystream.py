"""Streams against published vectors and a second implementation in plain Python (RFC 8439 from its text)."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretBytes

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.keystream import Stream

SEEDS = st.binary(min_size=32, max_size=32)
MASTER = bytes(range(32))


# ---------------------------------------------------------------------- the slow second implementation


def _quarter_round(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for first, second, third, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[first] = (x[first] + x[second]) % 2**32
        mixed = x[third] ^ x[first]
        x[third] = ((mixed << turn) | (mixed >> (32 - turn))) % 2**32


def chacha_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    """One 64-byte block as RFC 8439 section 2.3 describes it."""
    words = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    words += [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    words += [counter] + [int.from_bytes(nonce[i : i + 4], "little") for i in range(0, 12, 4)]
    x = list(words)
    for _ in range(10):
        for column in range(4):
            _quarter_round(x, column, 4 + column, 8 + column, 12 + column)
        for i in range(4):
            _quarter_round(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return b"".join(((a + b) % 2**32).to_bytes(4, "little") for a, b in zip(x, words, strict=True))


class SlowStream:
    """Word by word, integer arithmetic only."""

    def __init__(self, seed: bytes) -> None:
        self.seed, self.position = seed, 0

    def bytes(self, n: int) -> bytes:
        first, last = self.position // 64, (self.position + n + 63) // 64
        blocks = b"".join(chacha_block(self.seed, i, bytes(12)) for i in range(first, last))
        start = self.position - 64 * first
        self.position += n
        return blocks[start : start + n]

    def word(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "little")

    def below(self, bound: int) -> int:
        size = 4 if bound <= 2**32 else 8
        space = 256**size
        while True:
            r = self.word(size)
            if r < space - space % bound:
                return r % bound

    def fisher_yates(self, n: int) -> list[int]:
        a = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            a[i], a[j] = a[j], a[i]
        return a

    def sort(self, n: int) -> list[int]:
        while True:
            words = [self.word(8) for _ in range(n)]
            if len(set(words)) == n:
                return sorted(range(n), key=words.__getitem__)


def fast(seed: bytes) -> Stream:
    return Stream(SecretBytes(seed))


# ---------------------------------------------------------------------- published vectors


def test_slow_chacha_block_rfc8439() -> None:
    block = chacha_block(MASTER, 1, bytes.fromhex("000000090000004a00000000"))  # section 2.3.2
    assert block.hex() == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )


def test_stream_rfc8439_zero_key() -> None:
    expected = (  # appendix A.1, vectors 1 and 2
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )
    assert fast(bytes(32)).bytes(128).hex() == expected
    assert SlowStream(bytes(32)).bytes(128).hex() == expected


# The published table: key bytes 00..1f, info keyed/v1/pixel-shuffle/b=16/c=3.
PERMUTATIONS = [
    ("permutation_fy", 48, [20, 12, 24, 41, 27, 0, 11, 22], "bca2af4d73fcb226"),
    ("permutation_fy", 196, [168, 50, 140, 103, 19, 49, 114, 2], "4b46f42faa7e3063"),
    ("permutation_fy", 768, [282, 273, 87, 425, 325, 527, 414, 199], "4448e248a52c0a82"),
    ("permutation", 48, [37, 7, 24, 17, 34, 14, 26, 36], "f4a342d89632e7f5"),
    ("permutation", 196, [166, 188, 113, 37, 58, 48, 7, 150], "2c233fbb8ae176cd"),
    ("permutation", 768, [166, 188, 113, 37, 336, 58, 48, 435], "867b21c758bf8ceb"),
]


@pytest.mark.parametrize(("algorithm", "n", "first", "digest"), PERMUTATIONS)
def test_permutation_published_vectors(algorithm: str, n: int, first: list[int], digest: str) -> None:
    seed = Key.from_bytes(MASTER).subkey("keyed/v1/pixel-shuffle/b=16/c=3")
    got = getattr(fast(seed), algorithm)(n)
    assert got[:8].tolist() == first
    assert hashlib.sha256(got.astype("<u4").tobytes()).hexdigest()[:16] == digest
    slow = SlowStream(seed)
    assert got.tolist() == (slow.fisher_yates(n) if algorithm == "permutation_fy" else slow.sort(n))


# ---------------------------------------------------------------------- against the slow implementation


@given(SEEDS, st.lists(st.integers(0, 150), max_size=6))
def test_bytes_equal_slow_and_are_sequential(seed: bytes, sizes: list[int]) -> None:
    stream = fast(seed)
    parts = b"".join(stream.bytes(n) for n in sizes)
    assert parts == SlowStream(seed).bytes(sum(sizes))


@given(SEEDS, st.integers(0, 40))
def test_words_and_uniform_equal_slow(seed: bytes, n: int) -> None:
    stream, slow = fast(seed), SlowStream(seed)
    assert stream.u32(n).tolist() == [slow.word(4) for _ in range(n)]
    assert stream.u64(n).tolist() == [slow.word(8) for _ in range(n)]
    assert stream.uniform(n).tolist() == [(slow.word(8) // 2**11) / 2**53 for _ in range(n)]
    want = [-2.5 + 3.75 * ((slow.word(8) // 2**11) / 2**53) for _ in range(n)]
    assert stream.uniform(n, -2.5, 1.25).tolist() == want


# Bounds just above half of the word space reject almost every second word.
BOUNDS = st.one_of(
    st.integers(1, 1000),
    st.sampled_from([2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**62 + 1, 2**63 - 1, 2**63]),
)


@given(SEEDS, BOUNDS, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_integers_equal_slow_and_leave_the_same_position(seed: bytes, bound: int, sizes: list[int]) -> None:
    stream, slow = fast(seed), SlowStream(seed)
    for n in sizes:
        assert stream.integers(n, bound).tolist() == [slow.below(bound) for _ in range(n)]
    assert stream.choice(bound) == slow.below(bound)
    assert stream.bytes(8) == slow.bytes(8)


@given(SEEDS, st.integers(0, 60))
def test_permutations_equal_slow(seed: bytes, n: int) -> None:
    stream, slow = fast(seed), SlowStream(seed)
    assert stream.permutation(n).tolist() == slow.sort(n)
    assert stream.permutation_fy(n).tolist() == slow.fisher_yates(n)
    assert stream.bytes(4) == slow.bytes(4)


def test_fisher_yates_redraws_rejected_words(monkeypatch: pytest.MonkeyPatch) -> None:
    # Words at and above 2^32 - (2^32 mod m) are skipped: for m = 3 that is 2^32 - 1 alone.
    words = iter([2**32 - 1, 2**32 - 1, 4, 1])
    monkeypatch.setattr(Stream, "u32", lambda self, n: np.array([next(words) for _ in range(n)], np.uint32))
    assert fast(bytes(32)).permutation_fy(3).tolist() == [0, 2, 1]  # 4 mod 3 = 1, then 1 mod 2 = 1
    assert list(words) == []


def test_sort_redraws_everything_on_a_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([[5, 9, 5], [7, 2, 4]])
    monkeypatch.setattr(Stream, "u64", lambda self, n: np.array(next(draws), np.uint64))
    assert fast(bytes(32)).permutation(3).tolist() == [1, 2, 0]
    draws = iter([[1, 2, 3, 3], [2, 1, 1, 2]])
    assert fast(bytes(32)).permutations(2, 2).tolist() == [[1, 0], [0, 1]]


@given(st.data(), st.integers(1, 4), st.integers(1, 9))
def test_words_alike_but_for_the_lowest_bits_are_told_apart(data: st.DataObject, rows: int, n: int) -> None:
    near = st.builds(lambda high, low: (high << 61) + low, st.integers(0, 1), st.integers(0, 40))
    words = data.draw(st.lists(near, min_size=rows * n, max_size=rows * n))
    cut = [words[i : i + n] for i in range(0, rows * n, n)]
    draws = iter([words, [k << 32 for k in range(rows * n)]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "u64", lambda self, n: np.array(next(draws), np.uint64))
        found = fast(bytes(32)).permutations(rows, n)
    if any(len(set(row)) < n for row in cut):  # a tie: all words are drawn again, which come in order
        assert found.tolist() == [list(range(n))] * rows
    else:
        assert found.tolist() == [sorted(range(n), key=row.__getitem__) for row in cut]


@given(SEEDS, st.lists(st.integers(8000, 17_000), max_size=3))
def test_long_draws_of_words_are_the_bytes_of_the_stream(seed: bytes, sizes: list[int]) -> None:
    stream, whole = fast(seed), fast(seed).bytes(8 * sum(sizes))
    assert b"".join(stream.u64(n).astype("<u8").tobytes() for n in sizes) == whole


@given(SEEDS, st.integers(0, 5), st.integers(1, 30))
def test_rows_of_permutations_are_drawn_one_after_the_other(seed: bytes, rows: int, n: int) -> None:
    stream, slow = fast(seed), SlowStream(seed)
    assert stream.permutations(rows, n).tolist() == [slow.sort(n) for _ in range(rows)]
    assert stream.bytes(4) == slow.bytes(4)


@given(SEEDS, st.lists(st.integers(0, 40), max_size=4))
def test_bits_are_those_of_the_bytes_the_lowest_first(seed: bytes, sizes: list[int]) -> None:
    stream, slow = fast(seed), SlowStream(seed)
    for n in sizes:
        drawn = slow.bytes((n + 7) // 8)
        assert stream.bits(n).tolist() == [bool(drawn[i // 8] >> i % 8 & 1) for i in range(n)]


@given(SEEDS, st.integers(0, 20), st.integers(0, 20))
def test_normal_is_sequential_in_pairs(seed: bytes, a: int, b: int) -> None:
    one, two = fast(seed), fast(seed)
    assert np.concatenate([one.normal(2 * a), one.normal(b)]).tolist() == two.normal(2 * a + b).tolist()
    assert one.bytes(4) == two.bytes(4)


# ---------------------------------------------------------------------- distribution, for a fixed key


def test_uniform_and_normal_distribution() -> None:
    from scipy import stats

    stream = Key.from_bytes(MASTER).stream("test/distribution")
    uniform, normal = stream.uniform(200_000), stream.normal(200_000)
    assert 0.0 <= uniform.min() < uniform.max() < 1.0
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal[0::2], normal[1::2])[0, 1]) < 0.01
    assert np.abs(normal).max() < 8.58


@pytest.mark.parametrize("algorithm", ["permutation", "permutation_fy"])
def test_permutations_are_uniform(algorithm: str) -> None:
    from scipy import stats

    stream = Key.from_bytes(MASTER).stream("test/uniformity", algorithm)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(4_800):
        drawn = tuple(getattr(stream, algorithm)(4).tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_one_flipped_key_bit_changes_everything() -> None:
    flipped = bytes([MASTER[0] ^ 1]) + MASTER[1:]
    a = Key.from_bytes(MASTER).stream("test/flip").permutation(10_000)
    b = Key.from_bytes(flipped).stream("test/flip").permutation(10_000)
    assert np.sum(a == b) < 10  # about one fixed point is expected


# ---------------------------------------------------------------------- golden: this must never change

# Made with:
#   s = Key.from_bytes(bytes(range(32))).stream("golden/v1", "class/Ä 1")
#   s.bytes(5).hex(), s.u32(2), s.u64(2), s.uniform(2, -1, 3), s.integers(4, 1000), s.integers(2, 2**40),
#   s.choice(7), [x.hex() for x in s.normal(3)], s.permutation(8), s.permutation_fy(8), s.bytes(4).hex()
GOLDEN = (
    "9680fe9263",
    [4112107572, 1022580638],
    [4639251992028541950, 14085704006179909861],
    [2.297018073314982, 0.8963777461077456],
    [10, 6, 151, 739],
    [537913019933, 372737619615],
    4,
    ["0x1.f4a5045882cf8p-2", "0x1.5734a2fa57f20p-1", "0x1.73a91c88a9ff4p+0"],
    [3, 1, 0, 5, 7, 6, 4, 2],
    [5, 2, 6, 7, 3, 4, 1, 0],
    "32e8c898",
)


def test_golden() -> None:
    s = Key.from_bytes(MASTER).stream("golden/v1", "class/Ä 1")
    drawn = (
        s.bytes(5).hex(),
        s.u32(2).tolist(),
        s.u64(2).tolist(),
        s.uniform(2, -1, 3).tolist(),
        s.integers(4, 1000).tolist(),
        s.integers(2, 2**40).tolist(),
        s.choice(7),
        [float(x).hex() for x in s.normal(3)],
        s.permutation(8).tolist(),
        s.permutation_fy(8).tolist(),
        s.bytes(4).hex(),
    )
    assert drawn == GOLDEN


# ---------------------------------------------------------------------- doors


def test_types_shapes_and_writable() -> None:
    s = fast(bytes(32))
    for array, dtype in [
        (s.u32(3), np.uint32),
        (s.u64(3), np.uint64),
        (s.uniform(3), np.float64),
        (s.integers(3, 5), np.int64),
        (s.normal(3), np.float64),
        (s.permutation(3), np.int64),
        (s.permutations(1, 3)[0], np.int64),
        (s.bits(3), np.bool_),
        (s.permutation_fy(3), np.int64),
    ]:
        assert array.dtype == dtype
        assert array.shape == (3,)
        assert array.dtype.isnative
        array[0] = 0


@pytest.mark.parametrize(
    "method", ["bytes", "bits", "u32", "u64", "uniform", "normal", "permutation", "permutation_fy"]
)
def test_zero_is_empty(method: str) -> None:
    assert len(getattr(fast(bytes(32)), method)(0)) == 0


@pytest.mark.parametrize("method", ["bytes", "u32", "u64", "uniform", "permutation"])
def test_negative_counts_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        getattr(fast(bytes(32)), method)(-1)


@pytest.mark.parametrize("bound", [0, -3, 2**63 + 1])
def test_bad_bounds(bound: int) -> None:
    with pytest.raises(UsageError, match="bound"):
        fast(bytes(32)).integers(1, bound)


def test_stream_is_masked_and_not_picklable() -> None:
    assert repr(fast(bytes(32))) == "Stream(<masked>)"
    with pytest.raises(TypeError, match=r"key\.stream"):
        pickle.dumps(fast(bytes(32)))


@settings(max_examples=20)
@given(SEEDS)
def test_streams_with_different_seeds_differ(seed: bytes) -> None:
    other = bytes([seed[0] ^ 1]) + seed[1:]
    assert fast(seed).bytes(16) != fast(other).bytes(16)
