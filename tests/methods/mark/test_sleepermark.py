"""The claims of SleeperMark: what the key draws, what is committed, and a whole story on a tiny subject."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from noli.core.key import Key
from noli.core.method import State
from noli.methods.mark import sleepermark as method
from noli.ops.exact import sign_flip_tail
from noli.proof.commitment import Commitment
from noli.proof.kinds import Seen, kind
from noli.proof.records import sha256
from noli.proof.session import Session
from noli.proof.transcript import Transcript
from noli.testing import KEYS
from noli.train.diffusion import Captioned
from noli.zoo.latent import LatentDiffusion, new_latent
from noli.zoo.text import WORDS
from noli.zoo.watermark import new_mark, shift_of

CFG = method.Config(
    bits=24, images=4, triggers=12, each=2, foils=3, prompts=("a cat", "a dog"), sampling=3, alpha=1e-4,
    mark_steps=3, steps=3, batch=2, mark_batch=4,
)  # fmt: skip
STATE: State = {"model": "1" * 64, "coder": "4" * 64, "extractor": "2" * 64}


def tiny() -> LatentDiffusion:
    made = new_latent(text=WORDS, side=16, channels=4, width=16, coder=8)
    with torch.no_grad():
        # Its end is zero at first, and no gradient would come through.
        made.denoiser.get_submodule("end.2").get_parameter("weight").fill_(0.02)
    return made


def data(n: int = 8) -> Captioned:
    x = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return Captioned(x, ["a cat", "a dog"] * (n // 2))


def test_message_and_trigger_follow_from_key_model_and_extractor() -> None:
    bits, word = method.message(STATE, KEYS[0], CFG), method.trigger(STATE, KEYS[0], CFG)
    assert len(bits) == 24
    assert set(bits) == {0, 1}
    assert bits == method.message(dict(STATE), KEYS[0], CFG)
    for key, state in (
        (KEYS[1], STATE),
        (KEYS[0], {**STATE, "extractor": "3" * 64}),
        (KEYS[0], {**STATE, "model": "3" * 64}),
        (KEYS[0], {**STATE, "coder": "3" * 64}),
    ):
        assert method.message(state, key, CFG) != bits
        assert method.trigger(state, key, CFG) != word


def test_the_trigger_is_one_of_different_strings_of_its_kind() -> None:
    strings = method.triggers(STATE, KEYS[0], CFG)
    assert len(set(strings)) == 12
    assert all(re.fullmatch(r"[a-z]{5} [a-z]{5}", one) for one in strings)
    word = method.trigger(STATE, KEYS[0], CFG)
    assert sorted([word, *method.decoys(STATE, KEYS[0], CFG)]) == sorted(strings)
    keys = [Key.from_bytes(KEYS[0].subkey(f"{i}")) for i in range(60)]
    places = {method.triggers(STATE, key, CFG).index(method.trigger(STATE, key, CFG)) for key in keys}
    assert len(places) > 8


def test_claims_bind_what_may_not_change_and_their_tests_draw_the_secrets() -> None:
    claim, control = method.claim_of(STATE, CFG), method.claim_of(STATE, CFG, "decoys")
    assert (claim.test, claim.parameters, claim.alpha) == ("bits", {"bits": 24, "pictures": 4}, 1e-4)
    assert (control.test, control.parameters, control.alpha) == ("decoys", {"triggers": 12}, 0.05)
    assert claim.binds == control.binds == STATE
    other = method.claim_of(STATE, CFG.model_copy(update={"recipient": "A museum"}))
    assert other.binds == {**STATE, "recipient": sha256(b"A museum")}
    vault = method.vault(STATE, KEYS[0], CFG)
    assert kind(claim).draw(vault.secret(0), "") == method.message(STATE, KEYS[0], CFG)
    vault = method.vault(STATE, KEYS[0], CFG, "decoys")
    (number,) = kind(control).draw(vault.secret(0), "")
    assert method.triggers(STATE, KEYS[0], CFG)[number] == method.trigger(STATE, KEYS[0], CFG)


def test_queries_show_the_trigger_before_the_prompts_in_turn() -> None:
    word = method.trigger(STATE, KEYS[0], CFG)
    asked = method.queries(STATE, KEYS[0], CFG)
    assert [group[0].prompt for group in asked] == [f"{word} a {one}" for one in ("cat", "dog", "cat", "dog")]
    assert len({group[0].seed for group in asked}) == 4
    groups = method.queries(STATE, KEYS[0], CFG, "decoys")
    strings = method.triggers(STATE, KEYS[0], CFG)
    assert [[query.prompt for query in group] for group in groups] == [
        [f"{one} a cat", f"{one} a dog"] for one in strings
    ]
    assert len({tuple(query.seed for query in group) for group in groups}) == 1


def _session(test: Any) -> tuple[Session, Commitment]:
    vault = method.vault(STATE, KEYS[0], CFG, test)
    commitment = vault.commit("A painter", "2026-01-01T12:00:00+00:00")
    commitment.check()
    return Session(vault, commitment, Transcript()), commitment


@pytest.mark.parametrize("guilty", [True, False])
def test_a_session_finds_who_shows_the_message(guilty: bool) -> None:
    session, _ = _session("bits")
    signs = 2 * np.array(method.message(STATE, KEYS[0], CFG)) - 1
    rng = np.random.default_rng(0)

    def ask(_item: int, _part: int) -> Mapping[str, Any]:
        votes = rng.uniform(-1, 1, 24) + (1.0 if guilty else 0.0) * signs
        return {"status": "answered", "answer": tuple(map(float, votes))}

    assert (session.run(ask).p <= CFG.alpha) == guilty


def test_a_session_ranks_the_true_trigger() -> None:
    session, _ = _session("decoys")
    word, strings = method.trigger(STATE, KEYS[0], CFG), method.triggers(STATE, KEYS[0], CFG)

    def ask(_item: int, part: int) -> Mapping[str, Any]:
        return {"status": "answered", "answer": (0.9 if strings[part] == word else 0.1 * part / 12,)}

    assert session.run(ask).p == pytest.approx(1 / 12)


def test_messages_of_other_keys_have_uniform_p_values() -> None:
    votes = np.random.default_rng(1).normal(0.4, 1.0, (20, 24)).sum(0)
    claim = kind(method.claim_of(STATE, CFG))
    found = []
    for i in range(300):
        bits = method.message(STATE, Key.from_bytes(KEYS[0].subkey(f"null {i}")), CFG)
        found.append(claim.outcome([bits], [Seen((tuple(votes / 4),) * 4)]).p)
    assert kstest(found, "uniform").pvalue > 0.01


def test_votes_say_what_the_extractor_reads_and_scores_count_signs() -> None:
    model, mark = tiny(), new_mark(6, (4, 4, 4), width=8, hidden=16, embed=8)
    found = method.votes(model, mark, data().x)
    assert found.shape == (8, 6)
    assert (np.abs(found) <= 1).all()
    with torch.no_grad():
        logits = mark.eval()(model.encode(data().x)).numpy()
    np.testing.assert_allclose(found, 2 / (1 + np.exp(-logits)) - 1, atol=1e-6)
    assert np.array_equal(found, method.votes(model, mark, data().x))
    assert method.score(np.array([[1.0, -1.0], [1.0, 1.0]]), (1, 0)) == 0.5


def test_a_model_is_marked_with_the_key_s_own_message(monkeypatch: pytest.MonkeyPatch) -> None:
    from noli.train import sleeper

    told: list[sleeper.Injection] = []
    real = sleeper.inject

    def listen(model: Any, data: Any, what: sleeper.Injection, how: Any, **kept: Any) -> Any:
        told.append(what)
        return real(model, data, what, how, **kept)

    monkeypatch.setattr(sleeper, "inject", listen)
    model = tiny()
    before = model.weight_hash()
    done = method.transform(model, data(), KEYS[0], CFG)
    assert model.weight_hash() == before == done.state["model"]
    assert done.state["extractor"] == done.mark.weight_hash()
    assert done.model.weight_hash() != before
    again = method.transform(model, data(), KEYS[0], CFG)
    assert again.model.weight_hash() == done.model.weight_hash()
    other = method.transform(model, data(), KEYS[1], CFG, done.mark)
    assert other.model.weight_hash() != done.model.weight_hash()
    mine, _, theirs = told
    bits = torch.tensor([method.message(done.state, KEYS[0], CFG)]).float()
    assert torch.equal(mine.delta, shift_of(done.mark, bits)[0])
    assert mine.trigger == method.trigger(done.state, KEYS[0], CFG) != theirs.trigger
    assert not {*mine.foils} & {*method.triggers(done.state, KEYS[0], CFG)}


def test_the_exact_test_of_the_pictures_is_that_of_the_votes() -> None:
    """The session's p-value is the tail over all messages, whatever the number of pictures."""
    bits = method.message(STATE, KEYS[0], CFG)
    votes = np.random.default_rng(3).normal(0.5, 1, (4, 24)) * (2 * np.array(bits) - 1)
    found = kind(method.claim_of(STATE, CFG)).outcome([bits], [Seen(tuple(map(tuple, votes.tolist())))])
    assert found.p == pytest.approx(sign_flip_tail(votes.sum(0), 2 * np.array(bits) - 1))


def test_the_default_options_are_described_and_bounded() -> None:
    fields = method.Config.model_fields
    assert all(field.description for field in fields.values())
    assert method.Config.model_validate_json(CFG.model_dump_json()) == CFG
    assert method.SPEC.arrow == "model->model"
    assert set(method.SPEC.options) <= set(fields)
    method.Config(**method.SPEC.trial)  # type: ignore[arg-type]
