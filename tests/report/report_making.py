"""What the report tests are made of: pictures, records, evidence, previews, a parsed page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np

from noli.core.evidence import Evidence, LevelVerdict, Row
from noli.core.run import Run
from noli.ops import metrics
from noli.report.build import render_html
from noli.report.facts import gather

COMMITMENT = "c0ffee" * 10 + "beef"
LEVEL_ROWS = (
    ("plain", "Trains on the pictures as they are", "naive", 0.31),
    ("crop-flip", "Random crops and mirror images", "naive", 0.36),
    ("cutout-mixup", "Cuts holes and blends pictures", "routine", 0.40),
    ("grayscale", "Throws the colours away", "routine", 0.44),
    ("jpeg-10", "Recompresses at quality 10", "routine", 0.42),
    ("adversarial", "Adversarial training, three steps", "routine", 0.47),
    ("sharpen", "Sharpens and cuts low frequencies", "adaptive", 0.71),
    ("leaked-pairs", "Undoes the filter from one leaked pair per class", "adaptive", 0.82),
    ("half-protected", "Half of the pictures are unprotected", "context", 0.79),
)


def blurred(picture: np.ndarray) -> np.ndarray:
    wide = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)))
    total = sum(wide[i : i + picture.shape[0], j : j + picture.shape[1]] for i in range(3) for j in range(3))
    return np.clip(total / 9 * 0.9 + 0.5, 0, 255).astype(np.uint8)


def textured(seed: int, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (side // 4 + 1, side // 4 + 1, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[:side, :side].astype(np.uint8)


def evidence(verdict: str = "supported", *, rows: bool = True, **changes: Any) -> Evidence:
    bound = 0.5
    made = tuple(
        Row(
            name=n,
            about=a,
            level=lv,
            values=(v - 0.01, v, v + 0.01),
            value=v,
            low=v - 0.03,
            high=v + 0.03,
            n=1400,
        )
        for n, a, lv, v in LEVEL_ROWS
    )
    levels = tuple(
        LevelVerdict(level=lv, verdict=word, worst=worst, value=v, low=v - 0.03, high=v + 0.03, bound=bound)
        for lv, word, worst, v in (
            ("naive", "supported", "crop-flip", 0.36),
            ("routine", verdict, "adversarial", 0.47),
            ("adaptive", "not supported", "leaked-pairs", 0.82),
        )
    )
    fields: dict[str, Any] = {
        "claim": "Training on the protected pictures teaches at most half of what the originals teach.",
        "null": "a routine trainer learns more than that.",
        "level": "routine",
        "verdict": verdict,
        "reason": "The best of six routine attempts stays below the bound with its whole interval.",
        "statistic": "largest accuracy up to the routine level",
        "value": 0.47,
        "low": 0.44,
        "high": 0.5,
        "bound": bound,
        "n": 1400,
        "rows": made if rows else (),
        "levels": levels if rows else (),
        "reference": {"clean": 0.899, "chance": 1 / 14},
        "hashes": {"protected": "ab" * 32},
        "limits": ("Small networks were used; larger ones may learn more.",),
        "config": {"battery": "quick", "seeds": 3},
    }
    return Evidence(**{**fields, **changes})


def record(index: int, path: str, **changes: Any) -> dict[str, Any]:
    first = textured(index)
    second = blurred(first)
    base: dict[str, Any] = {
        "path": path,
        "out": path,
        "id": f"{index:020x}",
        "label": path.split("/")[0],
        "bits": 8,
        "shape": list(first.shape),
        "psnr": metrics.finite(metrics.psnr(first, second)),
        "linf": metrics.linf(first, second),
        "notes": [],
        "extra": {},
    }
    return {**base, **changes}


def write_preview(run: Run, names: list[str]) -> None:
    arrays = {}
    for index in range(len(names)):
        arrays[f"original_{index}"] = textured(index)
        arrays[f"protected_{index}"] = blurred(textured(index))
    np.savez(run.artifact("preview.npz"), names=np.array(names), **arrays)


VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Collects tags, text and attributes, and checks that tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def build(
    run: Run, found: Evidence | None = None, *, pictures: bool = True, protect_run: Run | None = None
) -> str:
    """Return the page of a run, without writing anything."""
    return render_html(gather(run, found, pictures=pictures, protect_run=protect_run))
