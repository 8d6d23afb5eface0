"""A lexicon of a few words, and how rare they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from noli.ops.lexicon import Lexicon

TINY = b"""\
[noun]
attack *:5
automobile *:5
blunder *
car 1:70
child *:50
choice *:9
doctor *:20
error 2:9
heart *:9
idea *:9
mistake 2:9
notion 7:3
onslaught 0:3
option 4:4
physician 5:3
run -:18
ticker 6
youngster 3:5
[noun forms]
children child
[verb]
begin *:20
buy *:20
commence 0:3
purchase 1:9
run *:20
scamper 2:4
stroll *:2
walk 3:9
[verb forms]
began begin
begun begin
bought buy
ran run
[adj]
big *:9
glad *:5
happy 1:5
large 0:9
quick *:9
rapid 2:5
[adj forms]
bigger big
biggest big
gladder glad
[adv]
rapidly *:9
speedily 0:2
[phrases]
big deal
heart attack
"""
RARE = {"physician": 17.0, "automobile": 16.0, "blunder": 19.0, "speedily": 20.0, "unknown": None}


@pytest.fixture(scope="session")
def tiny() -> Lexicon:
    return Lexicon.read(TINY)


@pytest.fixture(scope="session")
def flat() -> Callable[[str], float | None]:
    """All words are equally rare, but for a few."""
    return lambda word: RARE.get(word, 15.0)
