"""JSON Lines: where the text stands, escapes, and everything else as it was."""

import json

import pytest
from documents_making import LETTERS, drawn_edits, free_words, reversed_edits
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError, UsageError
from noli.data.documents import Edit, open_texts

STRINGS = st.text(max_size=40) | st.sampled_from(
    [
        'say "two words" — now',
        "tab\tline\nend",
        "C:\\dir\\file x",
        "naïve café",
        "http://a.b/c-d and",
        "😀word e\u0301",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def lines(draw: st.DrawFn, path: str = "text") -> str:
    *outer, key = path.split(".")
    record = draw(st.dictionaries(STRINGS, VALUES, max_size=4)) | {key: draw(STRINGS)}
    for name in reversed(outer):
        record = draw(st.dictionaries(STRINGS, VALUES, max_size=2)) | {name: record}
    order = draw(st.permutations(list(record)))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
    line = json.dumps(
        {name: record[name] for name in order}, ensure_ascii=draw(st.booleans()), separators=separators
    )
    return line.replace("/", "\\/") if draw(st.booleans()) else line


@pytest.mark.parametrize("path", ["text", "a.b", "meta.deep.text"])
@settings(deadline=None)
@given(data=st.data())
def test_lines_stay_json_and_other_fields_stay_equal(path: str, data: st.DataObject) -> None:
    blank = st.sampled_from(["", " ", "\t"])
    written = data.draw(st.lists(lines(path) | blank, max_size=4))
    content = data.draw(st.sampled_from(["\n", "\r\n", "\r"])).join(written).encode()
    opened = open_texts("a.jsonl", content, path)
    assert opened.rewritten({}) == content
    numbers = [number for number, line in enumerate(written, 1) if line.strip()]
    assert [text.name for text in opened.texts] == [f"a.jsonl#{number}" for number in numbers]
    edits = {index: drawn_edits(data, text) for index, text in enumerate(opened.texts)}
    changed = opened.rewritten(edits)
    for number, text in zip(numbers, opened.texts, strict=True):
        assert len(text.prose) == len(text.raw)
        assert _taken(json.loads(written[number - 1]), path)[0] == json.loads(f'"{text.raw}"')
    after = open_texts("a.jsonl", changed, path)
    before = [_taken(json.loads(written[number - 1]), path)[1] for number in numbers]
    assert [_taken(json.loads(line), path)[1] for line in _lines(changed) if line.strip()] == before
    back = {index: reversed_edits(text, edits[index]) for index, text in enumerate(opened.texts)}
    assert after.rewritten(back) == content


def _lines(content: bytes) -> list[str]:
    return content.decode().replace("\r", "\n").split("\n")


def _taken(record: dict, path: str) -> tuple[str, dict]:
    """The text, and the record without it."""
    *outer, key = path.split(".")
    inner = record
    for name in outer:
        inner = inner[name]
    return inner.pop(key), record


@pytest.mark.parametrize(
    ("line", "field", "raw"),
    [
        ('{"text": "yes"}', "text", "yes"),
        ('{"text": "no", "text": "yes"}', "text", "yes"),
        ('{"text": {"a": "no"}, "b": ["text", {"text": "no"}], "text": "yes"}', "text", "yes"),
        ('{"a": {"text": "no"}, "a": {"text": "yes"}}', "a.text", "yes"),
        ('{"te\\u0078t": "yes", "b": "\\"text\\": \\"no\\""}', "text", "yes"),
        ('  {"a":"}{,:","text" : "y\\\\", "z": "text"}  ', "text", "y\\\\"),
        ('{"text": ""}', "text", ""),
        ('{"": "yes"}', "", "yes"),
        ('{"n": 123456789, "m": -1.5e3, "t": [true, null, NaN], "text": "yes"}', "text", "yes"),
        ('{"n": ' + "1" * 9000 + ', "text": "yes"}', "text", "yes"),
        ('{"text": "\u2028yes\u0085"}', "text", "\u2028yes\u0085"),
    ],
)
def test_the_text_is_found_where_json_reads_it(line: str, field: str, raw: str) -> None:
    (text,) = open_texts("a.ndjson", line.encode(), field).texts
    assert (text.name, text.raw) == ("a.ndjson#1", raw)


@pytest.mark.parametrize(
    ("raw", "words", "free"),
    [
        (r"one\ntwo\tthree\r\nfour", "one two three four", "one two three four"),
        (
            r"caf\u00e9 \u201cquoted\u201d a\u00adb a\u00a0b \u2014dash",
            "caf quoted a b a b dash",
            "quoted dash",
        ),
        (r"say \"one\" and\/or", "say one", "say one"),
        (r"\ud83d\ude00word end", "word end", "end"),
        (r"http:\/\/x.org\/a-b?c=d\u0026no-no=no yes C:\\dir\\no-no yes", "yes yes", "yes yes"),
        (r"C\\n\\word yes", "yes", "yes"),
    ],
)
def test_escapes(raw: str, words: str, free: str) -> None:
    (text,) = open_texts("a.jsonl", f'{{"text": "{raw}"}}'.encode()).texts
    assert LETTERS.findall(text.prose) == words.split()
    assert [found[0] for found in free_words(text)] == free.split()


@pytest.mark.parametrize(
    ("line", "field", "what"),
    [
        ("no", "text", "no JSON"),
        ('{"text": "a"', "text", "no JSON"),
        ('{"text": "a\tb"}', "text", "no JSON"),
        ('{"text": "a"} {}', "text", "no JSON"),
        ('{"text": ' + "[" * 100_000, "text", "no JSON"),
        ('["text"]', "text", "no JSON object"),
        ('{"body": "a", "id": 1}', "text", "no field"),
        ('{"a": "b"}', "a.b", "no field"),
        ('{"text": 5}', "text", "no text"),
        ('{"text": null}', "text", "no field"),
        ('{"text": ["a"]}', "text", "no text"),
    ],
)
def test_lines_that_cannot_be_used_are_named(line: str, field: str, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        open_texts("a.jsonl", f'\n{{"text": "a", "a": {{"b": "c"}}}}\r\n\n{line}\n'.encode(), field)
    assert caught.value.where == "a.jsonl, line 4"
    assert caught.value.items == ("a.jsonl",)


def test_only_the_named_lines_change_and_positions_are_the_lines_own() -> None:
    content = b'\xef\xbb\xbf{"text": "one two"}\r\n\r\n{"text": "one two", "x": 1.0}'
    opened = open_texts("a.jsonl", content)
    assert opened.rewritten({1: [Edit(4, 7, "zwei")]}) == content[:30] + content[30:].replace(b"two", b"zwei")
    assert opened.rewritten({1: [Edit(0, 3, "a")], 0: [Edit(4, 7, "b")]}).count(b'"one b"') == 1
    with pytest.raises(UsageError) as caught:
        opened.rewritten({1: [Edit(3, 7, "x")]})
    assert caught.value.where == "a.jsonl#3, characters 3 to 7"
