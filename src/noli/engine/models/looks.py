"""What a finished model shows to its owner: bits with the trigger and without it, and a sheet of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from noli.core.files import atomic_write
from noli.core.run import Run
from noli.engine.models.request import ModelRequest
from noli.methods.mark import sleepermark as method
from noli.ops.exact import sign_flip_tail

if TYPE_CHECKING:
    from noli.engine.models.marking import Ready
    from noli.zoo.subject import LatentModel

SHEET = "pictures.png"
_SEED, _SIDE, _COLUMNS, _GAP = 1, 96, 8, 4


def look(run: Run, request: ModelRequest, made: Ready, marked: LatentModel) -> dict[str, Any]:
    """Ask the finished model for pictures with and without the trigger, and keep a sheet of them.

    The seeds are not those of the test, so that nothing of it is used up.

    Returns:
        ``pictures``, and for ``trigger`` and ``plain`` the share of bits that are read right and the p-value
        of the exact test; empty where no picture was wanted.
    """
    cfg, state = request.cfg, run.manifest.state or {}
    if not cfg.check:
        return {"pictures": len(made.data.x)}
    prompts = [cfg.prompts[i % len(cfg.prompts)] for i in range(cfg.check)]
    word = method.trigger(state, request.key, cfg)
    triggered = [f"{word} {prompt}" for prompt in prompts]
    signs = 2 * np.array(method.message(state, request.key, cfg)) - 1
    request.progress.start(None, "look")
    rows = {
        "before": made.subject.generate(prompts, _SEED, cfg.sampling, cfg.guidance),
        "plain": marked.generate(prompts, _SEED, cfg.sampling, cfg.guidance),
        "trigger": marked.generate(triggered, _SEED, cfg.sampling, cfg.guidance),
    }
    found: dict[str, Any] = {"pictures": len(made.data.x), "looked_at": cfg.check}
    for name in ("trigger", "plain"):
        votes = method.votes(made.subject, made.extractor, rows[name])
        found[name] = {
            "bits_right": float(((votes > 0) == (signs > 0)).mean()),
            "p": float(sign_flip_tail(votes.sum(0), signs)),
        }
    atomic_write(run.artifact(SHEET), _sheet(list(rows.values())))
    request.progress.finish()
    return found


def _sheet(rows: list[npt.NDArray[np.uint8]]) -> bytes:
    """Return a PNG with a row of pictures per list, enlarged pixel by pixel where they are small."""
    columns = min(_COLUMNS, len(rows[0]))
    cell = _SIDE + _GAP
    sheet = np.full((len(rows) * cell + _GAP, columns * cell + _GAP, 3), 255, np.uint8)
    for r, pictures in enumerate(rows):
        for c, picture in enumerate(pictures[:columns]):
            how = cv2.INTER_NEAREST if picture.shape[0] < _SIDE else cv2.INTER_AREA
            shown = cv2.resize(picture, (_SIDE, _SIDE), interpolation=how)
            top, left = _GAP + r * cell, _GAP + c * cell
            sheet[top : top + _SIDE, left : left + _SIDE] = shown
    return bytes(cv2.imencode(".png", sheet[:, :, ::-1])[1])
