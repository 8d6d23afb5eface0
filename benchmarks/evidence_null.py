"""How often the evidence core accuses an innocent: every test, fake owners, subjects that know no secret.

    python benchmarks/evidence_null.py                   about a quarter of an hour on one core
    python benchmarks/evidence_null.py --only bits       one part
    python benchmarks/evidence_null.py --only            only summarise the finished cells

Secrets follow from keys as in a real claim, assignments from ``kind(protocol).draw``, p-values from its
``.outcome``. A row counts how often p was at most a level, for one subject and at least 10,000 owners (the
rows of a part have the same owners), with its Clopper-Pearson interval at 95 %. Of exact tests' intervals,
one in forty lies above the level by chance; so a row is called ``inflated`` if the interval at
1 - 0.05 / (number of intervals) lies above it, which happens to any row of sound tests once in forty runs at
most. ``unsound`` are practices that noli does not offer, measured in the same way; without replacement, the
levels are p-values that the test can report. Cells lie
in results/evidence_null.jsonl.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.stats import beta, binom, kstest

from common import Cells, bench_key, cpu_cost, save
from noli.core.key import Key
from noli.data.demo import photo_crops
from noli.methods.verify.config import Config
from noli.methods.verify.load import load
from noli.ops.multiplicity import e_bh, holm
from noli.proof import ledger
from noli.proof.bundle import pack
from noli.proof.check import Trust, check
from noli.proof.claim import Suspect
from noli.proof.commitment import Vault, item_key
from noli.proof.kinds import Kind, Seen, kind
from noli.proof.outcome import Outcome
from noli.proof.power import fewest_hits
from noli.proof.protocol import Protocol
from noli.proof.records import sha256, utc
from noli.proof.session import Extras, Session, claim_of, members
from noli.proof.times import seen_by_checker
from noli.proof.transcript import content_of
from noli.train.fit import fit
from noli.train.recipe import Recipe
from noli.zoo import network

Array = np.ndarray[Any, Any]
Rows = dict[str, list[list[float]]]
LEVELS = (0.05, 0.01, 0.001, 0.0001)
NAMES = tuple(f"class {number}" for number in range(101))
GONE = -1  # no answer; of real numbers, NaN
CHUNK = 500
NETWORKS, QUERIES = 3, 100
VARIANTS, BITS, PICTURES, TRIGGERS = 8, 48, 10, 1000


def protocol(test: str, count: int, **fields: Any) -> Protocol:
    """A claim with `count` secrets, all of them used."""
    words = {"claim": "calibration", "null": "no answer depends on an assignment"}
    return Protocol.model_validate({**words, "test": test, "secrets": count, "budget": count, **fields})


def labels(count: int, classes: int = 10, k: int = 1, **fields: Any) -> Protocol:
    return protocol("labels", count, parameters={"classes": NAMES[:classes], "k": k}, **fields)


# --- Subjects ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What the answers to some owners are made from.

    Attributes:
        rng: Of this subject and these owners.
        own: ``[owners, N]`` assignments; used only where it is the owner who loses answers.
        others: The same of other owners, whose queries and hits the subject may know.
        classes: Number of classes, options or variants.
        k: Length of a list.
    """

    rng: np.random.Generator
    own: Array
    others: Array
    classes: int
    k: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of scores: owners, queries, classes."""
        return (*self.own.shape, self.classes)


Subject = Callable[[Scene], Array]


def listed(scene: Scene, weights: Array) -> Array:
    """Lists ``[owners, N, k]`` of classes, drawn one after the other with these weights."""
    waits = scene.rng.standard_exponential(scene.shape) / weights
    return waits.argmin(-1)[..., None] if scene.k == 1 else np.argsort(waits)[..., : scene.k]


def random(scene: Scene) -> Array:
    return listed(scene, np.ones(scene.classes))


def constant(scene: Scene) -> Array:
    return np.broadcast_to((np.arange(scene.k) + 3) % scene.classes, (*scene.own.shape, scene.k))


def collapsed(scene: Scene) -> Array:
    """Two classes first."""
    return listed(scene, np.array([0.8, 0.2] + [1e-9] * (scene.classes - 2)))


def skewed(scene: Scene) -> Array:
    """Zipf."""
    return listed(scene, 1 / np.arange(1, scene.classes + 1))


def scheming(scene: Scene) -> Array:
    """Goes by the number of the query and by the hits that another owner has had so far."""
    hits, found = np.zeros(len(scene.own), int), []
    for number, theirs in enumerate(scene.others.T):
        found.append((3 * number + 7 * hits) % scene.classes)
        hits += found[-1] == theirs
    return (np.stack(found, axis=1)[..., None] + np.arange(scene.k)) % scene.classes


def varied(scene: Scene) -> Array:
    """Lists of 0 to k classes; what is missing are classes that the owner does not have."""
    lengths = scene.rng.integers(0, scene.k + 1, scene.own.shape)
    return np.where(np.arange(scene.k) < lengths[..., None], random(scene), scene.classes)


def refusing(scene: Scene) -> Array:
    return np.where(scene.rng.random(scene.own.shape)[..., None] < 0.3, GONE, skewed(scene))


def losing(scene: Scene) -> Array:
    """Half of the misses get lost on the owner's way home."""
    return lost(scene, random(scene), 0.5)


def lost(scene: Scene, lists: Array, share: float) -> Array:
    """Lists without this share of the misses."""
    missed = (lists != scene.own[..., None]).all(-1) & (scene.rng.random(scene.own.shape) < share)
    return np.where(missed[..., None], GONE, lists)


HITS: Mapping[str, Subject] = {
    "random": random,
    "constant": constant,
    "collapsed on two classes": collapsed,
    "Zipf": skewed,
    "goes by another owner's hits": scheming,
    "lists of varying length": varied,
    "refuses 30 %": refusing,
    "owner loses half of the misses": losing,
}


def real(cells: Cells) -> dict[str, Subject]:
    """The trained networks as subjects: their answers to the noise pictures are fixed."""

    def answers(ranks: Sequence[str]) -> Subject:
        table = np.array([list(map(int, row)) for row in ranks])

        def subject(scene: Scene) -> Array:
            asked = table[: scene.own.shape[1], : scene.k]
            return np.broadcast_to(asked, (len(scene.own), *asked.shape))

        return subject

    return {name: answers(row["ranks"]) for name, row in networks(cells).items()}


def heavy(scene: Scene) -> Array:
    """Cauchy scores."""
    return scene.rng.standard_cauchy(scene.shape)


def tied(scene: Scene) -> Array:
    return scene.rng.integers(0, 3, scene.shape).astype(float)


def equal(scene: Scene) -> Array:
    return np.zeros(scene.shape)


def drifting(scene: Scene) -> Array:
    """Level and spread wander from text to text."""
    steps = scene.rng.normal(size=(2, *scene.own.shape)).cumsum(axis=2)[..., None]
    return 5 * steps[0] + np.exp(steps[1]) * scene.rng.normal(size=scene.shape)


def fond(scene: Scene) -> Array:
    """The first one is always the best, and so on."""
    return np.broadcast_to(-np.arange(scene.classes, dtype=float), scene.shape)


def following(scene: Scene) -> Array:
    """Prefers what another owner has just released."""
    just = np.roll(scene.others, 1, axis=1)[..., None] == np.arange(scene.classes)
    return just + 0.1 * scene.rng.normal(size=scene.shape)


def gaps(scene: Scene) -> Array:
    return np.where(scene.rng.random(scene.shape) < 0.02, np.nan, heavy(scene))


def dropping(scene: Scene) -> Array:
    """Half of what scores above the secret one gets lost on the owner's way home."""
    scores = heavy(scene)
    above = scores > np.take_along_axis(scores, scene.own[..., None], -1)
    return np.where(above & (scene.rng.random(scene.shape) < 0.5), np.nan, scores)


SCORES: Mapping[str, Subject] = {
    "heavy tails": heavy,
    "ties": tied,
    "all equal": equal,
    "drifts between texts": drifting,
    "one order for all": fond,
    "follows another owner": following,
    "refuses 2 % of the scores": gaps,
    "owner loses half of what is better": dropping,
}


def soft(scene: Scene) -> Array:
    """Logits ``[owners, pictures, bits]``: a bias per bit of sd 1.2; pictures share half of their noise."""
    owners, bits = scene.own.shape
    bias = 1.2 * scene.rng.normal(size=(owners, 1, bits))
    shared, own = (
        scene.rng.logistic(size=(owners, 1, bits)),
        scene.rng.logistic(size=(owners, PICTURES, bits)),
    )
    return bias + np.where(scene.rng.random(own.shape) < 0.5, shared, own)


def hard(scene: Scene) -> Array:
    return np.where(soft(scene) > 0, 1.0, -1.0)


def ones(scene: Scene) -> Array:
    return np.ones((len(scene.own), PICTURES, scene.own.shape[1]))


def without_two(scene: Scene) -> Array:
    votes = hard(scene)
    votes[:, [2, 5]] = np.nan
    return votes


def without_worst(scene: Scene) -> Array:
    """The owner loses the two pictures that fit the message least."""
    votes = hard(scene)
    fit_of = (votes * (2 * scene.own - 1)[:, None]).sum(-1)
    np.put_along_axis(votes, np.argsort(fit_of)[:, :2, None], np.nan, axis=1)
    return votes


MESSAGES: Mapping[str, Subject] = {
    "biased bits": hard,
    "biased logits": soft,
    "all ones": ones,
    "refuses two pictures": without_two,
    "owner loses the two worst": without_worst,
}


def networks(cells: Cells) -> dict[str, Any]:
    """Small networks that were never marked: accuracy, and how they rank the classes of block noise."""
    return {name: row for name, row in cells.get("networks", trained).items() if name.startswith("network")}


def trained() -> dict[str, Any]:
    begun = time.process_time()
    with TemporaryDirectory() as folder:
        photos = photo_crops(f"{folder}/photos")
        data = load(photos, photos, Config(max_items=10_000))
    kept, held = np.flatnonzero(data.clean_y < 10)[::3], data.test_y < 10
    noise = noise_pictures()
    found: dict[str, Any] = {}
    for seed in range(NETWORKS):
        model = network("tiny", 10, seed=seed)
        fit(model, data.clean_x[kept], data.clean_y[kept], Recipe(epochs=6, seed=seed, device="cpu"))
        right = model.predict(data.test_x[held]).argmax(1) == data.test_y[held]
        ranks = np.argsort(-model.predict(noise), axis=1, kind="stable")
        first = np.bincount(ranks[:, 0], minlength=10)
        found[f"network {seed}"] = {
            "accuracy": float(right.mean()),
            "classes named": int((first > 0).sum()),
            "largest share": float(first.max() / len(noise)),
            "ranks": ["".join(map(str, row)) for row in ranks],
        }
    return found | cpu_cost(begun)


def noise_pictures() -> Array:
    """Queries: 8 x 8 blocks of random colour, 32 x 32 pixels."""
    blocks = np.random.default_rng(0).integers(0, 256, (QUERIES, 8, 8, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2)


# --- Measuring --------------------------------------------------------------------------------------------


def assignments(claim: Protocol, owners: int) -> Array:
    """What the secrets of these owners say, ``[owners, secrets, length]``, by the real derivation."""
    # As `item_key`, which makes the digest of the protocol for every secret: a third of all time.
    test, prefix = kind(claim), f"noli/proof/v1/{claim.digest}"
    assert item_key(bench_key(0), claim, 1) == Key.from_bytes(bench_key(0).subkey(f"{prefix}/1"))
    keys = map(bench_key, range(owners))
    return np.array(
        [
            [test.draw(Key.from_bytes(key.subkey(f"{prefix}/{i}")), "") for i in range(claim.secrets)]
            for key in keys
        ],
        dtype=np.int16,
    )


@cache
def heard(test: str, row: tuple[int, ...]) -> Seen:
    if row[0] == GONE:
        return Seen((None,))
    return Seen((tuple(map(float, row)) if test == "choices" else tuple(NAMES[number] for number in row),))


def seen(test: str, answers: Array) -> list[Seen]:
    """One owner's answers as a transcript has them."""
    rows = answers.tolist()
    if test in ("labels", "choices"):
        return [heard(test, tuple(row)) for row in rows]
    if test == "bits":
        return [Seen(tuple(None if row[0] != row[0] else tuple(row) for row in rows))]
    return [Seen(tuple(None if score != score else (score,) for score in row)) for row in rows]


def scenes(name: str, drawn: Array, classes: int, k: int = 1) -> Iterator[tuple[Array, Scene]]:
    """Owners in pieces; the last one is only an "other"."""
    flat = drawn.reshape(len(drawn), -1)
    for start in range(0, len(drawn) - 1, CHUNK):
        stop = min(start + CHUNK, len(drawn) - 1)
        rng = np.random.default_rng([zlib.crc32(name.encode()), start])
        yield drawn[start:stop], Scene(rng, flat[start:stop], flat[start + 1 : stop + 1], classes, k)


def outcome(test: Kind, assigned: Array, answers: Array) -> Outcome:
    return test.outcome(list(map(tuple, assigned.tolist())), seen(test.protocol.test, answers))


def p_values(test: Kind, subject: Subject, name: str, drawn: Array, classes: int, k: int = 1) -> Array:
    """One p-value per owner."""
    found = []
    for assigned, scene in scenes(name, drawn, classes, k):
        found += [outcome(test, *one).p for one in zip(assigned, subject(scene), strict=True)]
    return np.array(found)


def counted(p: Array, levels: Sequence[float] = LEVELS) -> list[list[float]]:
    """Level, owners, and of how many p is at most the level."""
    return [[level, p.size, int((p <= level).sum())] for level in levels]


def sound(claim: Protocol, owners: int, subjects: Mapping[str, Subject], classes: int, k: int = 1) -> Rows:
    """Rows of one claim against all subjects."""
    return against(claim, assignments(claim, owners + 1), subjects, classes, k)


def against(claim: Protocol, drawn: Array, subjects: Mapping[str, Subject], classes: int, k: int = 1) -> Rows:
    test = kind(claim)
    return {
        name: counted(p_values(test, subject, f"{claim.digest}/{name}", drawn, classes, k))
        for name, subject in subjects.items()
    }


def sizes(count: int, chance: float) -> dict[str, float]:
    """What a binomial test reaches of every level, exactly."""
    hits = {level: int(fewest_hits(np.array([count]), chance, level)[0]) for level in LEVELS}
    return {f"{level}": float(binom.sf(least - 1, count, chance)) for level, least in hits.items() if least}


# --- Parts ------------------------------------------------------------------------------------------------


def labels_fixed(cells: Cells, count: int, owners: int) -> dict[str, Any]:
    rows = sound(labels(count), owners, {**HITS, **real(cells)}, 10)
    return {"sound": rows, "exact": sizes(count, 0.1)}


def labels_sequential(cells: Cells) -> dict[str, Any]:
    """Evidence of up to 100 queries; beside it, the fixed test repeated after each of them."""
    claim = labels(QUERIES, looks="sequential", futile=0.0)
    drawn = assignments(claim, 10_001)
    rows = against(claim, drawn, {**HITS, **real(cells)}, 10)
    smallest = [peeked(scene.own, random(scene)[..., 0]) for _, scene in scenes("peeking", drawn, 10)]
    return {
        "sound": rows,
        "unsound": {"fixed test after each of 100 queries": counted(np.concatenate(smallest))},
    }


def peeked(own: Array, answers: Array) -> Array:
    """Smallest binomial p-value over all looks."""
    hits = (own == answers).cumsum(axis=1)
    return binom.sf(hits - 1, np.arange(1, own.shape[1] + 1), 0.1).min(axis=1)


def lists(cells: Cells, k: int) -> dict[str, Any]:
    return {"sound": sound(labels(20, k=k), 10_000, {**HITS, **real(cells)}, 10, k)}


def best_of_k(_: Cells) -> dict[str, Any]:
    """The smallest of the p-values for k = 1 .. 10 is reported."""
    return {
        "unsound": {
            f"{classes} classes, {count} queries": best_of(
                [kind(labels(count, classes, k)) for k in range(1, 11)], count, classes
            )
            for count, classes in ((20, 10), (10, 100))
        }
    }


def best_of(tests: Sequence[Kind], count: int, classes: int) -> list[list[float]]:
    """Smallest p-value over lists that are cut to 1, 2, ... classes, each with a test of its own."""
    drawn, found = assignments(labels(count, classes), 10_001), []
    for k, test in enumerate(tests, start=1):
        found.append(
            p_values(test, lambda scene, k=k: random(scene)[..., :k], "best of k", drawn, classes, 10)
        )
    return counted(np.min(found, axis=0))


def list_lengths(_: Cells) -> dict[str, Any]:
    """What an owner gains who records lists of another length than the registered k, or loses misses of them.

    Nothing: lists are cut, and a lost answer counts as the worst that it can have been.
    """

    def threes(scene: Scene) -> Array:
        return lost(scene, random(replace(scene, k=3)), 1)

    def single(scene: Scene) -> Array:
        unknown = np.full((*scene.own.shape, 4), scene.classes)
        return lost(scene, np.concatenate([random(replace(scene, k=1)), unknown], axis=-1), 1)

    sequence = labels(40, k=5, looks="sequential", futile=0.0)
    return {
        "sound": {
            "k = 1 registered, best of lists of 1 .. 10": best_of([kind(labels(20))] * 10, 20, 10),
            "k = 1 registered, lists of 3, all misses lost": sound(labels(20), 10_000, {"": threes}, 10)[""],
            "k = 5 registered, sequential, lists of 1, all misses lost": sound(
                sequence, 10_000, {"": single}, 10, 5
            )[""],
        }
    }


def without_replacement(_: Cells) -> dict[str, Any]:
    """Ten labels, each class once, tested as if they were independent.

    The levels are p-values that the test can report. A subject that names one class has always one hit;
    one that names each class once, or one half of the classes and then the other, hits in clusters.
    """
    halves = np.array([range(5)] * 5 + [range(5, 10)] * 5)
    cases = {
        "constant": (1, np.full((10, 1), 3)),
        "each class once": (1, np.arange(10)[:, None]),
        "lists of five, one half of the classes each": (5, halves),
    }
    claim = labels(10)
    orders = [item_key(bench_key(n), claim, 0).stream("permuted").permutation(10) for n in range(20_000)]
    drawn, rows = np.array(orders)[..., None], {}
    for name, (k, answers) in cases.items():
        test = kind(labels(10, k=k))
        levels = binom.sf(np.arange(4, 7) - 1, 10, 0.1) if k == 1 else binom.sf(np.array([7, 9]), 10, 0.5)
        p = np.array([outcome(test, assigned, answers).p for assigned in drawn])
        rows[name] = counted(p, [float(level) * (1 + 1e-9) for level in levels])
    return {"unsound": rows}


def choices(_: Cells, looks: str) -> dict[str, Any]:
    claim = protocol("choices", 40, parameters={"options": 2}, looks=looks, futile=0.0)
    found: dict[str, Any] = {"sound": sound(claim, 10_000, HITS, 2)}
    return found | ({"exact": sizes(40, 0.5)} if looks == "fixed" else {})


def texts(_: Cells, looks: str, count: int, owners: int) -> dict[str, Any]:
    claim = protocol("texts", count, parameters={"variants": VARIANTS}, looks=looks, futile=0.0)
    return {"sound": sound(claim, owners, SCORES, VARIANTS)}


def decoys(_: Cells) -> dict[str, Any]:
    subjects = {name: subject for name, subject in SCORES.items() if subject is not drifting}
    return {
        "sound": sound(protocol("decoys", 1, parameters={"triggers": TRIGGERS}), 10_000, subjects, TRIGGERS)
    }


def bits(_: Cells) -> dict[str, Any]:
    """A message of 48 bits in ten pictures; beside it, all 480 bits taken for independent coins."""
    claim = protocol("bits", 1, parameters={"bits": BITS, "pictures": PICTURES})
    drawn, pooled = assignments(claim, 10_001), []
    rows = against(claim, drawn, MESSAGES, 2)
    for _, scene in scenes(f"{claim.digest}/pooled", drawn, 2):
        right = (hard(scene) == (2 * scene.own - 1)[:, None]).sum(axis=(1, 2))
        pooled.append(binom.sf(right - 1, BITS * PICTURES, 0.5))
    wrong = counted(np.concatenate(pooled), (*LEVELS, 1e-6))
    return {"sound": rows, "unsound": {"bits pooled over pictures": wrong}}


SUSPECTS, THIEVES = 10, 3
SHEETS = [sha256(b"%d" % number) for number in range(SUSPECTS)]


def suspects(scene: Scene, thieves: int) -> Array:
    """Answers ``[owners, suspects, N, 1]``: seven of ten are everybody's; thieves know half the secrets."""
    many = (len(scene.own), SUSPECTS, scene.own.shape[1])
    common, alone = scene.rng.integers(0, 10, (many[0], 1, many[2])), scene.rng.integers(0, 10, many)
    answers = np.where(scene.rng.random(many) < 0.7, common, alone)
    known = scene.rng.random((many[0], thieves, many[2])) < 0.5
    answers[:, :thieves] = np.where(known, scene.own[:, None], answers[:, :thieves])
    return answers[..., None]


def families(_: Cells, correction: str) -> dict[str, Any]:
    """Ten models with common answers, judged together: all innocent, or three thieves among them.

    Holm: how often an innocent is accused. e-BH: how often an accusation, picked at random among a family's,
    is false, which is the false discovery rate.
    """
    more = {"alpha": 0.05} if correction == "holm" else {"alpha": 0.01, "looks": "sequential", "futile": 0.0}
    claim = labels(20, family="ten models", tests=SUSPECTS, correction=correction, **more)
    drawn, rows = assignments(claim, 10_001), {}
    false = any_false if correction == "holm" else picked_false
    for thieves in (0, THIEVES):
        name, reached = f"{thieves} thieves of {SUSPECTS}", []
        for assigned, scene in scenes(f"{claim.digest}/{name}", drawn, 10):
            for one, answers in zip(assigned, suspects(scene, thieves), strict=True):
                p, e = judged(claim, one, answers, len(reached) % SUSPECTS)
                reached.append(false(p, e, thieves, scene.rng))
        rows[name] = [
            [level, len(reached), int(total)]
            for level, total in zip(LEVELS, np.sum(reached, axis=0), strict=True)
        ]
    return {"sound": rows}


def judged(claim: Protocol, assigned: Array, answers: Array, checked: int) -> tuple[Array, Array]:
    """Adjusted p-values and e-values of all suspects; the ledger, believing no other test, is stricter."""
    found = [outcome(kind(claim), assigned, own) for own in answers]
    p, e = holm([one.p for one in found]), np.array([one.e or 0.0 for one in found])
    shared = {"time": "2026-01-01T00:00:00+00:00", "family": claim.family, "protocol": claim.digest}
    spent = [
        ledger.Spent(number=i, suspect=f"{i}", transcript=SHEETS[i], p=one.p, e=one.e, **shared)
        for i, one in enumerate(found)
    ]
    said = ledger.judge(claim, spent, SHEETS[checked])
    accused = p <= claim.alpha if claim.correction == "holm" else e_bh(e, claim.alpha)
    assert said.p >= p[checked]
    assert accused[checked] or not said.supported
    return p, e


def any_false(p: Array, _: Array, thieves: int, __: np.random.Generator) -> list[bool]:
    return [bool((p[thieves:] <= level).any()) for level in LEVELS]


def picked_false(_: Array, e: Array, thieves: int, rng: np.random.Generator) -> list[bool]:
    accused = [np.flatnonzero(e_bh(e, level)) for level in LEVELS]
    return [bool(found.size and rng.choice(found) >= thieves) for found in accused]


# --- Grinding ---------------------------------------------------------------------------------------------

SEEDS, BEACONS, ASKED = 100_000, 200, 10
MODEL_SINCE, COMMITTED, FIRST_QUERY, LATER = (f"2026-0{month}-01T00:00:00+00:00" for month in range(1, 5))


def grinding(cells: Cells) -> dict[str, Any]:
    """An owner tries seeds until one fits the answers of a model that is already there."""
    ranks = networks(cells)["network 0"]["ranks"][:ASKED]
    answers = [NAMES[int(row[0])] for row in ranks]
    claim = labels(ASKED, alpha=1e-3)
    test, heard_all = kind(claim), [Seen(((name,),)) for name in answers]
    begun = time.process_time()
    drawn = assignments(claim, SEEDS)
    seconds = time.process_time() - begun
    hits = (drawn[..., 0] == [NAMES.index(name) for name in answers]).sum(axis=1)
    best = int(hits.argmax())
    p = test.outcome(list(map(tuple, drawn[best].tolist())), heard_all).p
    p_all = binom.sf(hits - 1, ASKED, 0.1)
    found = {
        "seeds": SEEDS,
        "queries": ASKED,
        "hits": int(hits[best]),
        "best_p": p,
        "chance_of_such_a_seed": float(-np.expm1(SEEDS * np.log1p(-p))),
        "seeds_at_levels": described({"all seeds": counted(p_all)})["all seeds"],
        "seconds_of_derivation": seconds,
        "check": bundled(claim, best, answers),
        "beacons": rerolled(test, claim, best, heard_all),
    }
    return {"grinding": found}


def bundled(claim: Protocol, number: int, answers: Sequence[str]) -> dict[str, Any]:
    """What a check says of the best seed, and what it would say if the model were younger."""
    key, pictures = bench_key(number), noise_pictures()[:ASKED]
    vault = Vault(key, claim, [[content_of(picture.tobytes())] for picture in pictures])
    session = Session(vault, vault.commit("grinder", COMMITTED))
    session.run(lambda item, _: {"time": FIRST_QUERY, "status": "answered", "answer": (answers[item],)})
    with TemporaryDirectory() as folder:
        made = claim_of(session, Suspect(name="network 0", since=MODEL_SINCE), Path(folder) / "ledger.jsonl")
    data = pack(members(session, *made, Extras()), key)
    seen_then = (seen_by_checker(COMMITTED),)
    found, younger = (
        check(data, Trust(seen=seen_then)),
        check(data, Trust(seen=seen_then, suspect_since=utc(LATER))),
    )
    return {
        "status": found.status,
        "reasons": list(found.reasons),
        "if the model were younger": younger.status,
    }


def rerolled(test: Kind, claim: Protocol, number: int, heard_all: Sequence[Seen]) -> dict[str, Any]:
    """P-values of the best seed when public randomness, unknown at commitment, takes part.

    The law is discrete: for the Kolmogorov-Smirnov test, every p is spread evenly down to the next one.
    """
    rng, secrets = np.random.default_rng(0), [item_key(bench_key(number), claim, i) for i in range(ASKED)]
    outcomes = [
        test.outcome([test.draw(secret, beacon) for secret in secrets], heard_all)
        for beacon in (rng.bytes(32).hex() for _ in range(BEACONS))
    ]
    hits = np.array([one.value for one in outcomes])
    p = np.array([one.p for one in outcomes])
    spread = p - rng.random(BEACONS) * binom.pmf(hits, ASKED, 0.1)
    shares = (0, 0.05, 0.25, 0.5, 0.75, 1)
    return {
        "count": BEACONS,
        "quantiles": dict(zip(map(str, shares), np.quantile(p, shares).tolist(), strict=True)),
        "levels": described({"all": counted(p)})["all"]["levels"],
        "ks_p": float(kstest(spread, "uniform").pvalue),
    }


PARTS: Mapping[str, Callable[[Cells], dict[str, Any]]] = {
    "labels-20": lambda cells: labels_fixed(cells, 20, 20_000),
    "labels-50": lambda cells: labels_fixed(cells, 50, 10_000),
    "labels-sequential": labels_sequential,
    "lists-3": lambda cells: lists(cells, 3),
    "lists-5": lambda cells: lists(cells, 5),
    "best-of-k": best_of_k,
    "list-lengths": list_lengths,
    "without-replacement": without_replacement,
    "choices": lambda cells: choices(cells, "fixed"),
    "choices-sequential": lambda cells: choices(cells, "sequential"),
    "texts": lambda cells: texts(cells, "fixed", 20, 10_000),
    "texts-sequential": lambda cells: texts(cells, "sequential", 8, 10_000),
    "bits": bits,
    "decoys": decoys,
    "holm": lambda cells: families(cells, "holm"),
    "e-bh": lambda cells: families(cells, "e-bh"),
    "grinding": grinding,
}  # fmt: skip


def clopper_pearson(reached: int, owners: int, confidence: float = 0.95) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, reached, owners - reached + 1) if reached else 0.0
    return float(low), float(beta.ppf(1 - tail, reached + 1, owners - reached)) if reached < owners else 1.0


def described(rows: Rows) -> dict[str, Any]:
    """Rates with intervals, by subject and level."""
    found: dict[str, Any] = {}
    for name, counts in rows.items():
        levels = {}
        for level, owners, reached in counts:
            low, high = (round(end, 7) for end in clopper_pearson(int(reached), int(owners)))
            levels[f"{level:.4g}"] = {"reached": reached, "rate": reached / owners, "low": low, "high": high}
        found[name] = {"owners": counts[0][1], "levels": levels}
    return found


def summary(cells: Cells) -> dict[str, Any]:
    done = {name: cells.done[name] for name in PARTS if name in cells.done}
    body: dict[str, Any] = {"parts": {}, "seconds": {}}
    for name, cell in done.items():
        kept = {"exact": cell["exact"]} if "exact" in cell else {}
        kept |= {group: described(cell[group]) for group in ("sound", "unsound") if group in cell}
        body["parts"][name] = kept | ({"grinding": cell["grinding"]} if "grinding" in cell else {})
    body["seconds"] = {name: cell.get("cpu_seconds") for name, cell in cells.done.items()}
    body["networks"] = {
        name: {key: value for key, value in row.items() if key != "ranks"}
        for name, row in networks(cells).items()
    }
    return body | {"verdict": verdict(done)}


def verdict(done: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of sound tests whose intervals lie above their levels: one by one, and all at once."""
    intervals = [
        (f"{part}, {name}, {level}", level, int(owners), int(reached))
        for part, cell in done.items()
        for name, counts in cell.get("sound", {}).items()
        for level, owners, reached in counts
    ]

    def above(confidence: float) -> list[str]:
        return [
            name
            for name, level, owners, reached in intervals
            if clopper_pearson(reached, owners, confidence)[0] > level
        ]

    together = above(1 - 0.05 / max(1, len(intervals)))
    return {"intervals": len(intervals), "above_at_95": above(0.95), "inflated": together}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="these parts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells("evidence_null")
    networks(cells)
    for name in args.only:
        cells.get(name, lambda name=name: timed(PARTS[name], cells))
    save("evidence_null", summary(cells), cells)


def timed(part: Callable[[Cells], dict[str, Any]], cells: Cells) -> dict[str, Any]:
    begun = time.process_time()
    return part(cells) | cpu_cost(begun)


if __name__ == "__main__":
    main()
