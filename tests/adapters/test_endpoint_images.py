"""Image classifiers on loopback: forms of asking, forms of answering, and what labels mean."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from servers import (
    COLOURS,
    Seen,
    Sent,
    Time,
    asking,
    coloured,
    colours,
    decoded,
    endpoint,
    image_settings,
    said,
    serve,
    top_1,
)

from noli.adapters.answers import NOTHING
from noli.core.errors import DataError, UsageError

BLUE = coloured(10, 20, 200)


def asked(settings: dict[str, Any], answer: Any, image: np.ndarray = BLUE) -> Any:
    """Ask one question of a service that answers with this JSON."""
    with serve(lambda _: said(answer)) as server, endpoint({**settings, "url": server.url}) as one:
        return one.ask_image(image)


def test_top_1_only() -> None:
    time = Time()
    with asking(top_1, time=time) as (one, server):
        found = [one.ask_image(coloured(*shares)) for shares in ((200, 9, 9), (9, 200, 9), (9, 9, 200))]
        (first, *_) = server.seen
    assert [answer.labels for answer in found] == [("red",), ("green",), ("blue",)]
    assert [answer.scores for answer in found] == [()] * 3
    assert {answer.status for answer in found} == {"answered"}
    assert one.spent == 3
    assert time.waits == []
    assert found[0].request_sha256 == hashlib.sha256(first.body).hexdigest()
    assert found[0].response_sha256 == hashlib.sha256(b'{"label": "red"}').hexdigest()
    assert found[0].certificate_sha256 == ""
    assert found[0].time == "2027-01-15T08:00:00.250+00:00"
    assert first.headers["content-type"] == "application/json"
    assert "noli" not in str(first.headers)


def rounded_top_5(seen: Seen) -> Sent:
    shares = colours(seen.picture()) | {"grey": 0.004, "black": 0.001, "white": 0.0004}
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])[:5]
    return said({"predictions": [{"label": name, "score": round(share, 2)} for name, share in ranked]})


@pytest.mark.parametrize("top", [1, 3, 5, 9])
def test_top_5_with_rounded_scores(top: int) -> None:
    with asking(rounded_top_5, response_path="predictions", top=top) as (one, _):
        answer = one.ask_image(coloured(50, 100, 200))
    assert answer.labels == ("blue", "green", "red", "grey", "black")[:top]
    assert answer.scores == pytest.approx((0.57, 0.29, 0.14, 0.0, 0.0)[:top], abs=0.006)


def test_a_noisy_service_is_taken_as_it_comes() -> None:
    labels = cycle(COLOURS)
    with asking(lambda _: said({"label": next(labels)})) as (one, _):
        found = [one.ask_image(BLUE) for _ in range(4)]
    assert [answer.labels[0] for answer in found] == ["red", "green", "blue", "red"]
    assert len({answer.request_sha256 for answer in found}) == 1
    assert len({answer.response_sha256 for answer in found}) == 3


@pytest.mark.parametrize(
    ("answer", "settings", "labels", "scores"),
    [
        ({"label": " cat\n"}, {}, ("cat",), ()),
        ({"label": 2}, {"classes": COLOURS}, ("blue",), ()),
        ({"label": ["a", "b", "c"]}, {"top": 2}, ("a", "b"), ()),
        ({"label": [1, 0]}, {"classes": COLOURS, "top": 5}, ("green", "red"), ()),
        ({"label": {"b": 0.25, "a": 0.25, "c": 0.5}}, {"top": 3}, ("c", "a", "b"), (0.5, 0.25, 0.25)),
        ({"label": [0.1, 0.7, 0.2]}, {"classes": COLOURS, "top": 2}, ("green", "blue"), (0.7, 0.2)),
        ({"label": [0, 1, 0.5]}, {"classes": COLOURS, "top": 2}, ("green", "blue"), (1.0, 0.5)),
        ({"label": {"label": "cat", "score": 1}}, {}, ("cat",), (1.0,)),
        ([{"n": "a", "p": 0.1}, {"n": "b", "p": 0.9}],
         {"response_path": "", "label_field": "n", "score_field": "p"}, ("b",), (0.9,)),
        ([{"label": "b", "score": 0.5}, {"label": "a", "score": 0.5}],
         {"response_path": "", "top": 2}, ("b", "a"), (0.5, 0.5)),
        ([{"label": "b", "score": None}, {"label": "a", "score": 0.5}],
         {"response_path": "", "top": 2}, ("b", "a"), ()),
        ({"a": [{"label": "x"}, {"label": "y"}]}, {"response_path": "a[*].label", "top": 2}, ("x", "y"), ()),
        ({"label": []}, {"top": 2}, (), ()),
    ],
)  # fmt: skip
def test_forms_of_an_answer(
    answer: Any, settings: dict[str, Any], labels: tuple[str, ...], scores: tuple[float, ...]
) -> None:
    found = asked(image_settings("", **settings), answer)
    assert (found.status, found.labels, found.scores) == ("answered", labels, scores)


def test_scores_that_json_does_not_have_are_no_scores() -> None:
    for number in ("NaN", "1e999", "1" + "0" * 400, "true", '"5"'):
        body = f'[{{"label": "a", "score": {number}}}, {{"label": "b", "score": 1}}]'.encode()
        with asking(lambda _, body=body: Sent(body), response_path="", top=2) as (one, _):
            answer = one.ask_image(BLUE)
        assert (answer.labels, answer.scores) == (("a", "b"), ()), number


def test_label_maps_many_to_one_and_one_to_many() -> None:
    mapped = {"tabby": "cat", "siamese": "cat", "pet": ["cat", "dog"], "7": "fish", "other": []}
    answers = [
        (["tabby", "siamese", "husky"], ("cat",)),
        (["pet", "tabby"], ("cat", "dog")),
        ([7, "husky", "wolf"], ("fish",)),
        (["other", "husky"], ()),
    ]
    queue = iter([said({"label": labels}) for labels, _ in answers])
    with asking(lambda _: next(queue), label_map=mapped, top=3) as (one, _):
        found = [one.ask_image(BLUE).labels for _ in answers]
    assert found == [labels for _, labels in answers]
    assert one.unknown == {"husky": 3, "wolf": 1}


def test_a_label_that_means_two_classes_gives_its_score_to_both() -> None:
    answer = [{"label": "pet", "score": 0.6}, {"label": "tabby", "score": 0.3}]
    mapped = {"pet": ["cat", "dog"], "tabby": "cat"}
    found = asked(image_settings("", response_path="", label_map=mapped, top=2), answer)
    assert (found.labels, found.scores) == (("cat", "dog"), (0.6, 0.6))


def test_top_counts_the_labels_of_the_service() -> None:
    settings = image_settings("", label_map={"pet": ["cat", "dog"], "tabby": "tiger"}, top=1)
    assert asked(settings, {"label": ["pet", "tabby"]}).labels == ("cat", "dog")
    assert asked(settings, {"label": ["husky", "tabby"]}).labels == ()


def test_positions_outside_the_classes_are_no_class_of_ours() -> None:
    with asking(lambda _: said({"label": 3}), classes=COLOURS) as (one, _):
        assert one.ask_image(BLUE).labels == ()
    assert one.unknown == {"3": 1}


def test_a_service_cannot_fill_the_memory_with_labels() -> None:
    many = [f"label-{number}" for number in range(1500)]
    with asking(lambda _: said({"label": many}), label_map={"a": "a"}, top=2000) as (one, _):
        one.ask_image(BLUE)
    assert len(one.unknown) == 1001
    assert one.unknown["(further labels)"] == 500


@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_array_carry_the_exact_pixels(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 4, channels), np.uint8)
    template = {
        "png": "{image_png_base64}",
        "deep": [{"array": "{image_array}"}],
        "jpeg": "{image_jpeg_base64}",
    }
    body = {"kind": "json", "template": template | {"url": "data:image/png;base64,{image_png_base64}"}}
    with serve(lambda _: said("x")) as server:
        with endpoint({"url": server.url, "body": body, "extra": {"more": 1}}) as one:
            assert one.ask_image(image).labels == ("x",)
        sent = server.seen[0].json
    shown = image[:, :, 0] if channels == 1 else image
    np.testing.assert_array_equal(decoded(base64.b64decode(sent["png"])), shown)
    np.testing.assert_array_equal(np.array(sent["deep"][0]["array"]), image)
    assert sent["url"] == f"data:image/png;base64,{sent['png']}"
    assert decoded(base64.b64decode(sent["jpeg"])).shape == shown.shape
    assert sent["more"] == 1


@pytest.mark.parametrize(("encoding", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8")])
def test_raw_bodies(encoding: str, magic: bytes) -> None:
    with serve(lambda _: said("x")) as server:
        with endpoint({"url": server.url, "body": {"kind": "raw", "encoding": encoding}}) as one:
            one.ask_image(BLUE)
        (seen,) = server.seen
    assert seen.body.startswith(magic)
    assert seen.headers["content-type"] == f"image/{encoding}"
    assert np.abs(decoded(seen.body).astype(int) - BLUE).max() <= (0 if encoding == "png" else 8)


def parts_of(seen: Seen) -> dict[str, tuple[str, bytes]]:
    """Take a form apart by its boundary: field -> (its head, its content)."""
    found = re.fullmatch(r"multipart/form-data; boundary=(\S+)", seen.headers["content-type"])
    assert found
    mark = b"--" + found[1].encode()
    assert seen.body.startswith(mark)
    assert seen.body.endswith(mark + b"--\r\n")
    made = {}
    for part in seen.body.split(mark)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(r' name="([^"]+)"', head.decode())
        assert name
        made[name[1]] = (head.decode(), content.removesuffix(b"\r\n"))
    return made


def test_forms() -> None:
    body = {"kind": "multipart", "field": "upload", "fields": {"k": "5", "words": "what: {prompt}"}}
    settings = {"body": body, "question": "Which colour?\r\nSay."}
    with serve(lambda _: said("x")) as server:
        with endpoint({"url": server.url, **settings}) as one:
            first, again = (one.ask_image(BLUE) for _ in range(2))
            other = one.ask_image(BLUE + 1)
        parts = parts_of(server.seen[0])
    assert {name: content for name, (_, content) in parts.items() if name != "upload"} == {
        "k": b"5",
        "words": b"what: Which colour?\r\nSay.",
    }
    head, content = parts["upload"]
    np.testing.assert_array_equal(decoded(content), BLUE)
    assert 'filename="image.png"' in head
    assert "Content-Type: image/png" in head
    assert first.request_sha256 == again.request_sha256 != other.request_sha256


def test_get_puts_everything_into_the_query() -> None:
    settings = {"method": "GET", "query": {"q": "a {prompt} & {{prompt}}", "image": "{image_png_base64}"}}
    with serve(lambda _: said("x")) as server:
        with endpoint({"url": server.url, "question": "b+c", **settings}) as one:
            answer = one.ask_image(coloured(1, 2, 3, size=(1, 1)))
        (seen,) = server.seen
    assert seen.method == "GET"
    assert seen.body == b""
    assert seen.path.startswith("/predict?q=a+b%2Bc+%26+%7Bprompt%7D&image=iVBOR")
    assert answer.request_sha256 == NOTHING


def test_a_chat_model_with_eyes() -> None:
    reply = {"choices": [{"message": {"content": "Blue\n"}, "finish_reason": "stop"}]}
    settings = {"style": "openai-chat", "model": "m", "question": "Which?", "label_map": {"Blue": "blue"}}
    with serve(lambda _: said(reply)) as server:
        with endpoint({"url": server.url, **settings, "extra": {"seed": 1, "temperature": None}}) as one:
            assert one.ask_image(BLUE).labels == ("blue",)
        sent = server.seen[0].json
    words, picture = sent["messages"][0]["content"]
    assert words == {"type": "text", "text": "Which?"}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert sent["seed"] == 1
    assert "temperature" not in sent


def test_plain_text_answers() -> None:
    words = Sent(b"cat\n", headers={"Content-Type": "text/plain; charset=utf-8"})
    with asking(lambda _: words, response_path=None) as (one, _):
        assert one.ask_image(BLUE).labels == ("cat",)


def test_a_prompt_is_never_filled_in_itself() -> None:
    with serve(lambda _: said("x")) as server:
        body = {"kind": "json", "template": {"q": "<{prompt}>", "image": "{image_png_base64}"}}
        question = "{image_array} {prompt} env:HOME"
        with endpoint({"url": server.url, "body": body, "question": question}) as one:
            one.ask_image(BLUE)
        assert server.seen[0].json["q"] == f"<{question}>"


SHAPES = ((4, 4), (4, 4, 4), (0, 4, 3), (1, 4, 4, 3))


@pytest.mark.parametrize("image", [[[1]], np.zeros((4, 4, 3)), *(np.zeros(one, np.uint8) for one in SHAPES)])
def test_what_is_no_image_is_refused_before_anything_is_sent(image: Any) -> None:
    one = endpoint(image_settings("http://127.0.0.1:1/"))
    with pytest.raises(DataError, match="uint8"):
        one.ask_image(image)
    assert one.spent == 0


@pytest.mark.parametrize(
    ("settings", "call", "word"),
    [
        ({"body": {"kind": "json", "template": {"q": "{prompt}"}}}, "image", "no place for an image"),
        ({"body": {"kind": "json", "template": {"q": "{image_array}"}}}, "text", "place for an image"),
        ({"body": {"kind": "raw"}}, "text", "place for an image"),
        ({"body": {"kind": "json", "template": {"q": "hello"}}}, "text", "no place for a prompt"),
        ({"body": {"kind": "multipart", "fields": {"a": "b"}}}, "picture", "no place for a prompt"),
        ({"style": "openai-images"}, "image", "cannot be asked this way"),
        ({"style": "openai-completions"}, "picture", "cannot be asked this way"),
        ({"body": {"kind": "multipart"}, "headers": {"content-type": "x/y"}}, "image", "contradicts"),
    ],
)
def test_questions_that_the_endpoint_cannot_be_asked(settings: dict[str, Any], call: str, word: str) -> None:
    one = endpoint({"url": "http://127.0.0.1:1/", **settings})
    with pytest.raises(UsageError, match=word):
        one.ask_image(BLUE) if call == "image" else getattr(one, f"ask_{call}")("hello")
    assert one.spent == 0


def test_a_content_type_of_the_user_wins() -> None:
    named = {"Content-Type": "application/vnd.api+json", "user-agent": "me"}
    with asking(top_1, headers=named) as (one, server):
        one.ask_image(BLUE)
    (seen,) = server.seen
    assert seen.headers["content-type"] == named["Content-Type"]
    assert seen.headers["user-agent"] == "me"
    assert json.loads(seen.body)["image"]
