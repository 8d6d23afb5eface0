"""Mark texts, publish, learn from them, ask, prove: from documents in a folder to a bundle's check."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import noli
from noli import api
from noli.api import TextRun
from noli.cli.main import main
from noli.core.errors import DataError, NoliError, OutputExists, UsageError, WrongKey
from noli.proof.check import check
from noli.proof.records import now
from noli.proof.released import Comparison
from noli.testing import KEYS
from noli.train.language import LANGUAGE, train_language
from noli.zoo.tinylm import TinyLM
from texts_making import OPTIONS, story, texts_of, tree, write_documents

sys.path.insert(0, str(Path(__file__).parent / "adapters"))
from servers import Seen, Sent, said, serve

SMALL = {"context": 96, "width": 64, "layers": 2, "heads": 2, "vocabulary": 400}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def originals(place: Path) -> Path:
    return write_documents(place / "documents")


@pytest.fixture(scope="module")
def marked(place: Path, originals: Path) -> TextRun:
    return noli.mark_texts(originals, place / "out", key=KEYS[0], name="The press", **OPTIONS)


@pytest.fixture(scope="module")
def thief(place: Path, marked: TextRun) -> Path:
    return learned(place / "thief", texts_of(Path(marked.output)))


@pytest.fixture(scope="module")
def innocent(place: Path) -> Path:
    return learned(place / "innocent", [story(random.Random(99), 60)])


def learned(folder: Path, texts: list[str]) -> Path:
    model, _ = train_language(texts, LANGUAGE.model_copy(update={"epochs": 60, "seed": 1}), **SMALL)
    model.save(folder)
    return folder


def test_only_words_change_and_the_key_brings_them_back(
    place: Path, originals: Path, marked: TextRun
) -> None:
    before, after = tree(originals), tree(Path(marked.output))
    assert before.keys() == after.keys()
    assert before["picture.bin"] == after["picture.bin"]
    assert sum(before[name] != after[name] for name in before) == 9
    for name, data in after.items():
        if name.endswith(".txt"):
            assert len(data.decode().split()) == len(before[name].decode().split())
            assert data.count(b"\r\n\r\n") == 4
    assert "the large vessel" in (Path(marked.output) / "notes.md").read_text()
    assert "title='the large vessel'" in (Path(marked.output) / "sub" / "page.html").read_text()
    noli.undo(marked.output, place / "back", key=KEYS[0])
    assert tree(place / "back") == before


def test_the_run_says_what_it_did_and_keeps_the_variants_to_itself(marked: TextRun) -> None:
    found = marked.manifest.results
    assert (found["files"], found["texts"], found["others_copied"]) == (9, 14, 1)
    assert 0 < found["replaced"] < found["places"]
    assert found["asked"] == 24 <= found["passages"]
    page = marked.changes_file.read_text()
    assert page.count("<del>") == found["replaced"]
    open_files = [f for f in marked.path.rglob("*") if f.is_file() and f != marked.changes_file]
    assert not any(b"vessel" in f.read_bytes() for f in open_files)


def test_the_same_call_again_changes_nothing_and_a_killed_one_gives_the_same_bytes(
    place: Path, originals: Path, marked: TextRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(Path(marked.output))
    again = noli.mark_texts(originals, place / "out", key=KEYS[0], name="The press", **OPTIONS)
    assert again.commitment == marked.commitment
    assert tree(Path(marked.output)) == before
    from noli.engine.texts import collection

    inner, written = collection.write_if_other, []

    def dying(file: Path, data: bytes) -> bool:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(file)
        return inner(file, data)

    monkeypatch.setattr(collection, "write_if_other", dying)
    with pytest.raises(NoliError, match="Stopped"):
        noli.mark_texts(originals, place / "killed", key=KEYS[0], **OPTIONS)
    monkeypatch.undo()
    noli.mark_texts(originals, place / "killed", key=KEYS[0], **OPTIONS)
    assert tree(place / "killed") == before


def test_another_key_or_recipient_has_other_texts(place: Path, originals: Path, marked: TextRun) -> None:
    other = noli.mark_texts(originals, place / "other", key=KEYS[1], **OPTIONS)
    theirs = noli.mark_texts(originals, place / "theirs", key=KEYS[0], recipient="A. Reader", **OPTIONS)
    found = [tree(Path(run.output)) for run in (marked, other, theirs)]
    assert found[0] != found[1]
    assert found[0] != found[2]
    assert theirs.commitment is not None
    assert marked.commitment is not None
    assert theirs.commitment.root != marked.commitment.root


def test_the_thief_is_found_and_the_bundle_checks(place: Path, marked: TextRun, thief: Path) -> None:
    bundle = place / "proof.zip"
    found = noli.detect(marked.output, key=KEYS[0], model=thief, since=now(), bundle=bundle)
    assert found.supported
    assert found.claim.outcome.p < 1e-4
    assert found.claim.suspect.weights == TinyLM.load(thief).digest
    answer = check(bundle.read_bytes())
    assert answer.status == "untimely"  # nobody but its owner says when the commitment was made
    owner = ("clock", "draw", "age")
    told = noli.check_bundle(bundle, believe=owner, released=marked.output)
    assert told.status == "valid"
    assert told.release is not None
    assert told.release.digest == marked.commitment.released  # type: ignore[union-attr]
    assert told.compared == Comparison("same")
    with zipfile.ZipFile(bundle) as packed:
        inside = b"".join(packed.read(name) for name in packed.namelist())
    assert b"vessel" not in inside


def test_the_innocent_is_not_found(marked: TextRun, innocent: Path) -> None:
    found = noli.detect(marked.output, key=KEYS[0], model=innocent)
    assert not found.supported
    assert found.claim.outcome.p > 1e-3


@pytest.mark.parametrize("ask", ["choice", "cloze"])
def test_answers_in_words_are_enough(tmp_path: Path, originals: Path, ask: str) -> None:
    """A service without log probabilities that remembers what was published."""
    run = noli.mark_texts(originals, tmp_path / "out", key=KEYS[0], **{**OPTIONS, "ask": ask, "variants": 4})
    known = " ".join(" ".join(texts_of(Path(run.output))).split())

    def remembers(seen: Seen) -> Sent:
        asked = seen.json["prompt"]
        if ask == "choice":
            listed = re.findall(r"^(\d+)\. (.*?)(?=\n\n)", asked, re.MULTILINE | re.DOTALL)
            named = [number for number, text in listed if " ".join(text.split()) in known]
        else:
            gap, words = asked.split("\n\n")[1], re.search(r"words only: (.*)\.$", asked.split("\n\n")[0])
            assert words is not None
            named = [w for w in words[1].split(", ") if " ".join(gap.replace("_____", w).split()) in known]
        return said({"choices": [{"text": named[0] if len(named) == 1 else "I do not know"}]})

    def answers(seen: Seen) -> Sent:
        return said({"choices": [{"text": "1" if ask == "choice" else "the"}]})

    for reply, supported in ((remembers, True), (answers, False)):
        with serve(reply) as server:
            config = tmp_path / f"{supported}.yaml"
            config.write_text(yaml.safe_dump({"url": server.url, "style": "openai-completions"}))
            found = noli.detect(run.output, key=KEYS[0], endpoint=config)
        assert found.supported is supported


def test_a_served_model_that_echoes_is_scored(tmp_path: Path, marked: TextRun, thief: Path) -> None:
    model = TinyLM.load(thief)

    def echo(seen: Seen) -> Sent:
        text = seen.json["prompt"]
        (told,) = model.score_tokens([text])
        pieces = [text[a:b] for a, b in told.spans]
        inner = {"tokens": pieces, "token_logprobs": [None, *map(float, told.logp[1:])]}
        return said({"choices": [{"text": text, "logprobs": inner}]})

    with serve(echo) as server:
        config = tmp_path / "suspect.yaml"
        config.write_text(yaml.safe_dump({"url": server.url, "style": "openai-completions"}))
        found = noli.detect(marked.output, key=KEYS[0], endpoint=config, suspect="a service")
    assert found.supported
    assert len(server.seen) == 24 * 6


@pytest.mark.parametrize("number", [-1.7e308, -1e300, -1e7])
def test_numbers_that_are_no_model_s_are_misses(tmp_path: Path, marked: TextRun, number: float) -> None:
    def absurd(seen: Seen) -> Sent:
        text = seen.json["prompt"]
        inner = {"tokens": [text[:1], text[1:2], text[2:]], "token_logprobs": [None, number, number]}
        return said({"choices": [{"text": text, "logprobs": inner}]})

    with serve(absurd) as server:
        config = tmp_path / "suspect.yaml"
        config.write_text(yaml.safe_dump({"url": server.url, "style": "openai-completions"}))
        found = noli.detect(marked.output, key=KEYS[0], endpoint=config, suspect=f"absurd {number}")
    assert (found.supported, found.hopeless) == (False, True)
    assert found.claim.outcome.refused == found.claim.outcome.n


def test_only_approved_words_change(tmp_path: Path, originals: Path) -> None:
    table = tmp_path / "words.tsv"
    options = {**OPTIONS, "least": 1, "alpha": 0.05}
    count = noli.propose_words(originals, table, config=options)
    lines = table.read_text().splitlines()
    assert len(lines) == count + 1
    table.write_text("\n".join([lines[0], *(line for line in lines if "\twealthy\t" in line)]) + "\n")
    run = noli.mark_texts(originals, tmp_path / "out", key=KEYS[0], approved=table, **options)
    changed = {
        (old, new)
        for file in originals.rglob("*.txt")
        for old, new in zip(
            file.read_text().split(), (Path(run.output) / file.name).read_text().split(), strict=True
        )
        if old != new
    }
    assert changed == {("wealthy", "moneyed")}


def test_the_published_mode_changes_words_and_proves_nothing(tmp_path: Path, originals: Path) -> None:
    options = {"encoder": "none", "mode": "published"}
    one = noli.mark_texts(originals, tmp_path / "one", key=KEYS[0], **options)
    other = noli.mark_texts(originals, tmp_path / "other", key=KEYS[1], **options)
    assert tree(Path(one.output)) == tree(Path(other.output)) != tree(originals)
    assert one.commitment is None
    with pytest.raises(UsageError, match="proves nothing"):
        noli.detect(one.output, key=KEYS[0], model=tmp_path)
    noli.undo(one.output, tmp_path / "back", key=KEYS[0])
    assert tree(tmp_path / "back") == tree(originals)


def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path: Path, originals: Path) -> None:
    short = tmp_path / "short"
    short.mkdir()
    (short / "a.txt").write_text("Nothing here.")
    cases: list[tuple[type[NoliError], str, Path, dict[str, Any]]] = [
        (DataError, "enough words", short, {}),
        (UsageError, "never be evidence", originals, {"documents": 1}),
        (UsageError, "no option", originals, {"kk": 3}),
        (UsageError, "nothing here", tmp_path / "none", {}),
        (UsageError, "approved words cannot be read", originals, {"approved": tmp_path / "none.tsv"}),
    ]
    for kind, words, data, options in cases:
        with pytest.raises(kind, match=words):
            noli.mark_texts(data, tmp_path / "out", key=KEYS[0], **{**OPTIONS, **options})
        assert not (tmp_path / "out").exists()
    with pytest.raises(OutputExists):
        noli.mark_texts(originals, originals / "out", key=KEYS[0], **OPTIONS)


def test_changed_texts_and_other_keys_are_refused(tmp_path: Path, marked: TextRun, originals: Path) -> None:
    copy, run = tmp_path / "copy", tmp_path / "copy.noli"
    shutil.copytree(marked.output, copy)
    shutil.copytree(marked.path, run)
    with pytest.raises(WrongKey):
        noli.undo(copy, tmp_path / "back", key=KEYS[1])
    with pytest.raises(WrongKey):
        noli.detect(copy, key=KEYS[1], model=tmp_path)
    (copy / "0.txt").write_text("Something else.")
    with pytest.raises(DataError, match="changed since they were marked"):
        noli.undo(copy, tmp_path / "back", key=KEYS[0])
    assert not (tmp_path / "back").exists()
    sealed = run / "texts.sealed"
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="cannot be opened"):
        noli.detect(copy, key=KEYS[0], model=tmp_path)


def test_the_command_line(
    tmp_path: Path, originals: Path, thief: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "owner.key"
    noli.Key.new(key)
    settings = [f"--set={name}={value}" for name, value in OPTIONS.items() if name != "documents"]
    out = str(tmp_path / "out")
    assert main(["mark", "leximark", str(originals), "-o", out, "--key", str(key), "--documents", "24",
                 "--json", "--quiet", *settings]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["results"]["asked"] == told["protocol"]["budget"] == 24
    assert main(["mark", "words", str(originals), "-o", str(tmp_path / "w.tsv"), *settings[:1]]) == 0
    assert "Words that may vary" in capsys.readouterr().out
    # It learned from another marking of the same texts.
    assert main(["detect", out, "--key", str(key), "--model", str(thief), "--json", "--quiet"]) == 1
    assert json.loads(capsys.readouterr().out)["supported"] is False


def test_what_was_released_is_never_written_again_with_other_texts(tmp_path: Path, originals: Path) -> None:
    texts, table = tmp_path / "texts", tmp_path / "words.tsv"
    shutil.copytree(originals, texts)
    noli.propose_words(texts, table, config=OPTIONS)
    call: dict[str, Any] = {"key": KEYS[0], "approved": table, **OPTIONS}
    run = noli.mark_texts(texts, tmp_path / "out", **call)
    before, kept = tree(Path(run.output)), tree(run.path)
    (texts / "0.txt").write_text((texts / "0.txt").read_text() + " One more sentence.")
    with pytest.raises(DataError, match="not those that were marked"):
        noli.mark_texts(texts, tmp_path / "out", **call)
    shutil.copy(originals / "0.txt", texts / "0.txt")
    table.write_text("\n".join(table.read_text().splitlines()[:-3]))
    for other in ({**call}, {**call, "approved": None}):
        with pytest.raises(UsageError, match="other arguments"):
            noli.mark_texts(texts, tmp_path / "out", **other)
    assert tree(Path(run.output)) == before
    assert {n: d for n, d in tree(run.path).items() if n != "run.json"} == {
        n: d for n, d in kept.items() if n != "run.json"
    }


def test_a_single_file_may_get_another_name_and_comes_back(tmp_path: Path, originals: Path) -> None:
    options = {**OPTIONS, "documents": 4, "alpha": 0.05}
    run = noli.mark_texts(originals / "0.txt", tmp_path / "renamed.txt", key=KEYS[0], **options)
    noli.undo(run.output, tmp_path / "back.txt", key=KEYS[0])
    assert (tmp_path / "back.txt").read_bytes() == (originals / "0.txt").read_bytes()


def test_a_sentence_longer_than_a_passage_stays_as_it_is(tmp_path: Path) -> None:
    draw = random.Random(5)
    long = story(draw, 12).replace(". The", ", the")
    (tmp_path / "a.txt").write_text("\n\n".join([long, *(story(draw) for _ in range(6))]))
    run = noli.mark_texts(
        tmp_path / "a.txt", tmp_path / "b.txt", key=KEYS[0], **{**OPTIONS, "documents": 4, "alpha": 0.05}
    )
    assert run.manifest.results["passages"] >= 4
    assert (tmp_path / "b.txt").read_text().startswith(long)


LATIN = {"old.txt": "Der gr\u00f6\u00dfte Kahn.".encode("latin-1"), "sub/broken.jsonl": b"{\n"}


def test_documents_that_cannot_be_read_are_named_all_at_once_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_documents(tmp_path / "documents")
    whole = noli.mark_texts(folder, tmp_path / "whole", key=KEYS[0], **OPTIONS)
    for name, data in LATIN.items():
        (folder / name).write_bytes(data)
    with pytest.raises(DataError, match="2 of 11 documents cannot be read") as caught:
        noli.mark_texts(folder, tmp_path / "out", key=KEYS[0], **OPTIONS)
    assert set(caught.value.items) == set(LATIN)
    said = str(caught.value)
    assert "old.txt, byte 6" in said
    assert "Convert the file to UTF-8" in said
    assert "or leave them out with --on-error skip" in said
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.noli").exists()
    with pytest.raises(UsageError, match="on_error has no such value"):
        noli.mark_texts(folder, tmp_path / "out", key=KEYS[0], on_error="ignore", **OPTIONS)

    done = noli.mark_texts(folder, tmp_path / "out", key=KEYS[0], on_error="skip", **OPTIONS)
    # The rest is marked as it is without them, and comes back; the originals stay.
    assert tree(Path(done.output)) == tree(Path(whole.output))
    assert done.commitment is not None
    assert whole.commitment is not None
    assert done.commitment.protocol == whole.commitment.protocol
    assert done.manifest.results["skipped"] == 2
    assert [one["items"] for one in done.events() if one["kind"] == "skipped"] == [sorted(LATIN)]
    noli.undo(done.output, tmp_path / "back", key=KEYS[0])
    assert tree(tmp_path / "back") == {n: d for n, d in tree(folder).items() if n not in LATIN}
    assert all((folder / name).read_bytes() == data for name, data in LATIN.items())
    again = noli.mark_texts(folder, tmp_path / "out", key=KEYS[0], on_error="skip", **OPTIONS)
    assert tree(Path(again.output)) == tree(Path(whole.output))

    table = tmp_path / "words.tsv"
    assert main(["mark", "words", str(folder), "-o", str(table), "--set", "encoder=none"]) == 4
    skip = ["--on-error", "skip", "--set", "encoder=none"]
    assert main(["mark", "words", str(folder), "-o", str(table), *skip]) == 0
    only = tmp_path / "only"
    only.mkdir()
    (only / "old.txt").write_bytes(LATIN["old.txt"])
    with pytest.raises(DataError, match="1 of 1 documents cannot be read") as alone:
        noli.mark_texts(only, tmp_path / "none", key=KEYS[0], on_error="skip", **OPTIONS)
    assert "--on-error" not in str(alone.value)
    capsys.readouterr()


def test_two_folders_of_texts_are_compared_as_texts(
    tmp_path: Path, originals: Path, marked: TextRun, capsys: pytest.CaptureFixture[str]
) -> None:
    found = noli.diff_texts(originals, marked.output)
    results = marked.manifest.results
    assert (found.items, found.identical) == (9, 0)
    assert 0 < found.changed <= results["replaced"]
    assert main(["diff", str(originals), marked.output]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        f"compared 9 documents, 0 of them identical changed {found.changed:,} of {found.words:,} words"
        in shown
    )
    assert "picture" not in shown.partition("Most changed")[0]

    one, other = tmp_path / "a", tmp_path / "b"
    for folder, words in ((one, "One two three four."), (other, "One 2 three four. And five.")):
        folder.mkdir()
        (folder / "text.txt").write_text(words)
        (folder / "same.md").write_text("The same.")
        (folder / f"{folder.name}.txt").write_text("Alone.")
        (folder / "old.txt").write_bytes(LATIN["old.txt"])
    small = noli.diff_texts(one, other)
    assert (small.items, small.identical, small.words, small.changed) == (2, 1, 6, 1)
    assert (small.only_a, small.only_b, small.unreadable) == (["a.txt"], ["b.txt"], ["old.txt"])
    assert main(["diff", str(one), str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == small.as_dict()
    assert main(["diff", str(one), str(other), "-o", str(tmp_path / "sheet.png")]) == 2
    files = noli.diff_texts(one / "text.txt", other / "text.txt")
    assert (files.items, files.changed) == (1, 1)
    with pytest.raises(DataError, match="no document in common"):
        noli.diff_texts(one / "a.txt", other)
    (one / "picture.png").write_bytes(b"")
    assert not api.are_texts(one, other)
