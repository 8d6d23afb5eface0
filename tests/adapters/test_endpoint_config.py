"""Configurations: files, messages, label maps, and the dry run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from servers import coloured, image_settings, text_settings

from noli.adapters.config_file import load_endpoint, load_label_map, make_endpoint
from noli.adapters.endpoint import dry_run
from noli.adapters.endpoint_config import EndpointConfig
from noli.core.errors import UsageError

URL = "https://host.invalid/v1"
YAML = """
url: https://host.invalid/v1
body:
  kind: json
  template: {image: "{image_png_base64}"}
headers: {X-Api-Key: env:SOME_KEY}
response_path: predictions[*].label
label_map: labels.csv
ca_file: own.pem
rate: 2
"""


def test_a_yaml_file_with_a_label_map_beside_it(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("service,class\ntabby,cat\npet,cat\npet,dog\n")
    file = tmp_path / "endpoint.yaml"
    file.write_text(YAML)
    config = load_endpoint(file)
    assert config.label_map == {"tabby": ("cat",), "pet": ("cat", "dog")}
    assert config.ca_file == tmp_path / "own.pem"
    assert config.headers == {"X-Api-Key": "env:SOME_KEY"}
    assert (config.top, config.budget, config.method, config.rate) == (1, 1000, "POST", 2.0)
    again = EndpointConfig.model_validate_json(config.model_dump_json())
    assert again == config


def test_a_json_file(tmp_path: Path) -> None:
    file = tmp_path / "endpoint.json"
    file.write_text(json.dumps({"url": URL, "style": "openai-chat", "label_map": {"1": "cat"}}))
    assert load_endpoint(file).style == "openai-chat"


def test_a_configuration_cannot_be_changed() -> None:
    config = make_endpoint(image_settings(URL))
    with pytest.raises(ValidationError):
        config.rate = 5  # type: ignore[misc]


BODY = {"kind": "json", "template": {"a": "{image_array}"}}


@pytest.mark.parametrize(
    ("settings", "where", "fix"),
    [
        ({"response_pth": "a"}, "response_pth", "did you mean response_path or"),
        ({"refusals": {"patern": "a"}}, "refusals.patern", "did you mean pattern or"),
        ({"body": {"kind": "multipart", "feild": "f"}}, "body.multipart.feild", "did you mean field"),
        ({"body": {"kind": "xml"}}, "body", ""),
        ({"body": {"kind": "json", "template": ["{image_png_bas64}"]}}, "template", ""),
        ({"body": {"kind": "json", "template": float("nan")}}, "template", ""),
        ({"extra": {"a": {"b": "{promt}"}}}, "extra", ""),
        ({"query": {"a": "{promt}"}}, "query", ""),
        ({"body": {"kind": "multipart", "fields": {"a": "{promt}"}}}, "fields", ""),
        ({"body": {"kind": "multipart", "field": 'a"b'}}, "field", ""),
        ({"url": "ftp://host/x"}, "url", ""),
        ({"url": "https://"}, "url", ""),
        ({"url": "https://host name/"}, "url", ""),
        ({"url": "https://host:port/"}, "url", ""),
        ({"url": "https://hést/"}, "url", ""),
        ({"url": "https://host/\n"}, "url", ""),
        ({"response_path": "a[b"}, "response_path", ""),
        ({"refusals": {"path": "a..b"}}, "refusals.path", ""),
        ({"refusals": {"pattern": "("}}, "refusals.pattern", ""),
        ({"refusals": {"statuses": [99]}}, "refusals.statuses", ""),
        ({"retry_statuses": [200]}, "retry_statuses", ""),
        ({"headers": {"X Y": "a"}}, "headers", ""),
        ({"headers": {"X-Y": "a\r\nHost: b"}}, "headers", ""),
        ({"headers": {"Host": "other"}}, "headers", ""),
        ({"top": 0}, "top", ""),
        ({"rate": 0}, "rate", ""),
        ({"rate": float("inf")}, "rate", ""),
        ({"jitter": 1.5}, "jitter", ""),
        ({"budget": 0}, "budget", ""),
        ({"timeout": 0}, "timeout", ""),
        ({"label_map": ["cat"]}, "label_map", ""),
        ({"method": "GET"}, "GET", ""),
        ({"body": None}, "nothing would be sent", ""),
        ({"model": "small"}, "model needs a style", ""),
        ({"extra": {"a": 1}, "body": {"kind": "raw"}}, "extra needs", ""),
        ({"extra": {"a": 1}, "body": {"kind": "json", "template": "{image_array}"}}, "extra needs", ""),
        ({"extra": {"a": 1}, "body": None, "query": {"q": "{prompt}"}}, "extra needs", ""),
    ],
)
def test_messages_name_the_place_and_the_nearest_name(settings: dict[str, Any], where: str, fix: str) -> None:
    with pytest.raises(UsageError, match="not valid") as caught:
        make_endpoint({"url": URL, "body": BODY} | settings, where="endpoint.yaml")
    assert where in str(caught.value.why)
    assert fix in (caught.value.fix or "")
    assert caught.value.where == "endpoint.yaml"


def test_a_mistyped_placeholder_gets_a_hint() -> None:
    with pytest.raises(UsageError, match=r"did you mean image_png_base64") as caught:
        make_endpoint({"url": URL, "body": {"kind": "json", "template": "{image_png_bas64}"}})
    assert "{{image_png_bas64}}" in str(caught.value)
    make_endpoint({"url": URL, "body": {"kind": "json", "template": '{{promt}} {"a": 1} {A} { b }'}})


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("gone.yaml", None, "missing"),
        ("list.yaml", b"- a", "must map"),
        ("numbers.yaml", b"1: 2", "must map"),
        ("bad.yaml", b"url: [hunter2hunter2", "neither YAML nor JSON"),
        ("bytes.yaml", b"\xff\xfe\x00", "cannot be read"),
        ("code.yaml", b"url: !!python/object/apply:os.system [id]", "neither YAML nor JSON"),
    ],
)
def test_files_that_are_none(name: str, content: bytes | None, word: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=word) as caught:
        load_endpoint(file)
    assert caught.value.where == str(file)
    assert "hunter2" not in str(caught.value)


def test_label_maps_as_json(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text('{" tabby ": "cat", "pet": ["cat", "dog", "cat"], "none": []}')
    assert load_label_map(file) == {"tabby": ("cat",), "pet": ("cat", "dog"), "none": ()}


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.json", '{"a": "b", "a": "c"}', "'a' stands there twice"),
        ("a.json", '{"a": 5}', "'a' must lead to"),
        ("a.json", '{"a": [5]}', "'a' must lead to"),
        ("a.json", '["a"]', "not an object"),
        ("a.json", "{", "line 1"),
        ("a.csv", "tabby,cat\n", "first line"),
        ("a.csv", "", "first line"),
        ("a.csv", "service,class\na,b,c\n", "row 2"),
        ("a.csv", "service,class\na,\n", "row 2"),
        ("a.csv", 'service,class\n"a,b\n', "unexpected end"),
    ],
)
def test_label_maps_that_are_none(name: str, text: str, word: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UsageError, match="not a label map") as caught:
        load_label_map(file)
    assert word in str(caught.value.why)


def test_numbers_as_labels_in_yaml() -> None:
    config = make_endpoint(image_settings(URL, label_map={7: "cat", "8": ["dog"]}))
    assert config.label_map == {"7": ("cat",), "8": ("dog",)}


# The dry run


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a dry run must not open a connection")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_a_dry_run_shows_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    changes = {"headers": {"X-Api-Key": "env:SOME_KEY"}, "rate": 2, "budget": 50, "extra": {"k": 5}}
    config = make_endpoint(image_settings("http://host.invalid/v1", **changes))
    shown = dry_run(config, coloured(1, 2, 3, size=(32, 32)), queries=101)
    image = shown["body"].pop("image")
    assert shown == {
        "url": "http://host.invalid/v1",
        "method": "POST",
        "headers": ["Content-Type", "X-Api-Key"],
        "query": [],
        "body": {"k": 5},
        "bytes": shown["bytes"],
        "planned_seconds": 50.0,
        "missing": ["SOME_KEY"],
        "warnings": [
            "secrets travel unencrypted: the address is not https",
            "101 queries do not fit into the budget of 50 requests",
        ],
    }
    assert image.startswith("iVBOR")
    assert image.endswith("characters)")
    assert len(image) < 80 < shown["bytes"]
    json.dumps(shown)


@pytest.mark.usefixtures("no_network")
def test_a_dry_run_shortens_lists_and_forms() -> None:
    picture = coloured(1, 2, 3, size=(20, 2))
    shown = dry_run(make_endpoint({"url": URL, "body": BODY}), picture)
    assert len(shown["body"]["a"]) == 9
    assert shown["body"]["a"][-1] == "... (20 elements)"
    form = dry_run(make_endpoint({"url": URL, "body": {"kind": "multipart"}}), picture)
    assert form["body"]["file"].startswith("image.png (")
    raw = dry_run(make_endpoint({"url": URL, "body": {"kind": "raw", "encoding": "jpeg"}}), picture)
    assert (raw["body"], raw["headers"]) == ({"image": "jpeg"}, ["Content-Type"])
    query = {"method": "GET", "query": {"q": "{prompt}"}}
    got = dry_run(make_endpoint({"url": URL, **query}), "hello")
    assert (got["body"], got["bytes"], got["query"], got["method"]) == (None, 0, ["q"], "GET")


@pytest.mark.usefixtures("no_network")
def test_a_dry_run_of_words() -> None:
    shown = dry_run(make_endpoint(text_settings(URL)), "hello", max_tokens=5)
    assert shown["body"] == {"text": "hello", "n": 5}
    style = make_endpoint({"url": URL, "style": "openai-images"})
    assert dry_run(style, "a cat")["body"] == {"prompt": "a cat", "n": 1, "response_format": "b64_json"}
    chat = make_endpoint({"url": URL, "style": "openai-chat", "top": 3})
    assert "one label" in dry_run(chat, "hi", logprobs=True)["warnings"][0]
    with pytest.raises(UsageError, match="no place for an image"):
        dry_run(make_endpoint(text_settings(URL)), coloured(1, 2, 3))


def loaded_by(code: str) -> list[str]:
    code += "\nimport sys; print([n for n in ('httpx', 'torch', 'PIL', 'cv2') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout.replace("'", '"')))


def test_a_dry_run_needs_no_http_library() -> None:
    code = (
        "from noli.adapters.config_file import make_endpoint\n"
        "from noli.adapters.endpoint import Endpoint, dry_run\n"
        "c = make_endpoint({'url': 'http://h/', 'style': 'openai-chat'}); dry_run(c, 'x'); Endpoint(c)"
    )
    assert loaded_by(code) == []


def test_a_missing_http_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from noli.adapters.endpoint import Endpoint
    from noli.core.errors import MissingPrerequisite

    monkeypatch.delitem(sys.modules, "noli.adapters.wire", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingPrerequisite) as caught:
        Endpoint(make_endpoint(text_settings("http://127.0.0.1:1/"))).ask_text("x")
    assert caught.value.fix == "pip install httpx"
