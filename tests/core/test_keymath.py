"""The portable functions against the math library and against themselves one number at a time."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from noli.core import keystream as keymath

UNITS = st.integers(1, 2**53).map(lambda k: k * 2.0**-53)
TURNS = st.integers(0, 2**53 - 1).map(lambda k: k * 2.0**-53)


@given(st.one_of(UNITS, st.floats(1e-300, 1e300)))
def test_log(x: float) -> None:
    got = keymath.exact_log(np.array([x]))[0]
    assert abs(got - math.log(x)) <= 8e-16 * max(abs(math.log(x)), 1e-300)


def _cos_sin_of_turn(v: float) -> tuple[float, float]:
    # The library's functions near 2 pi v suffer from the rounding of the argument: reduce exactly first.
    eighth = round(Fraction(v) * 4)
    a = float(Fraction(v) * 4 - eighth) * math.pi / 2
    turn = eighth % 4
    c, s = math.cos(a), math.sin(a)
    return [(c, s), (-s, c), (-c, -s), (s, -c)][turn]


@given(TURNS)
def test_cos_sin(v: float) -> None:
    cos, sin = keymath.exact_cos_sin_turns(np.array([v]))
    want = _cos_sin_of_turn(v)
    assert abs(cos[0] - want[0]) <= 4e-16
    assert abs(sin[0] - want[1]) <= 4e-16


def test_exact_points() -> None:
    cos, sin = keymath.exact_cos_sin_turns(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert cos.tolist() == [1, 0, -1, 0, 1]
    assert sin.tolist() == [0, 1, 0, -1, 0]
    assert keymath.exact_log(np.array([1.0, 2.0]))[0] == 0.0


@given(st.lists(st.tuples(UNITS, TURNS), max_size=40))
def test_box_muller_is_the_same_one_by_one(pairs: list[tuple[float, float]]) -> None:
    # A vectorised loop and its remainder, or another alignment, must not change a bit.
    u, v = (np.array([p[i] for p in pairs], dtype=np.float64) for i in (0, 1))
    alone = [x for p in pairs for x in keymath.box_muller(np.array([p[0]]), np.array([p[1]])).tolist()]
    assert keymath.box_muller(u, v).tolist() == alone


@given(UNITS, TURNS)
def test_box_muller_formula(u: float, v: float) -> None:
    radius = math.sqrt(-2.0 * math.log(u))
    want = [radius * part for part in _cos_sin_of_turn(v)]
    np.testing.assert_allclose(keymath.box_muller(np.array([u]), np.array([v])), want, rtol=1e-14, atol=1e-14)


def _plain_python_normal(u: float, v: float) -> list[float]:
    """The same operations in the same order with Python floats, which are IEEE 754 doubles."""

    def horner(coefficients: list[float], x: float) -> float:
        total = coefficients[-1]
        for c in reversed(coefficients[:-1]):
            total = total * x + c
        return total

    m, e = math.frexp(u)
    if m < 0.7071067811865476:
        m, e = m * 2, e - 1
    s = (m - 1) / (m + 1)
    log = e * 0.6931471805599453 + (2 * s) * horner([1 / (2 * k + 1) for k in range(11)], s * s)
    radius = math.sqrt(-2 * log)
    quadrant = round(4 * v)
    a = (4 * v - quadrant) * 1.5707963267948966
    cos = horner([(-1) ** k / math.factorial(2 * k) for k in range(10)], a * a)
    sin = a * horner([(-1) ** k / math.factorial(2 * k + 1) for k in range(9)], a * a)
    c, d = [(cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos)][quadrant % 4]
    return [radius * c, radius * d]


@given(UNITS, TURNS)
def test_box_muller_bit_equal_to_plain_python(u: float, v: float) -> None:
    assert keymath.box_muller(np.array([u]), np.array([v])).tolist() == _plain_python_normal(u, v)
