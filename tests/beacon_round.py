"""A published round of the beacon, and a clock that tests can set."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

from noli.proof.beacon import round_time

sys.path.insert(0, str(Path(__file__).parent / "proof"))
from test_records import RANDOMNESS, SIGNATURE

ROUND = 123
TIME = round_time(ROUND)
# With ten minutes to go, this is the round that is named.
FIRST_CALL = TIME - timedelta(minutes=10, seconds=2)
SERVED = {"round": ROUND, "randomness": RANDOMNESS, "signature": SIGNATURE}


class Clock:
    """This machine's time, as the beacon's code sees it."""

    moment = FIRST_CALL

    def __call__(self) -> str:
        return self.moment.isoformat()


def write_round(folder: Path) -> Path:
    """Write the round as drand serves it."""
    (folder / "round.json").write_text(json.dumps(SERVED))
    return folder / "round.json"
