"""No frame of noli ever holds secret bytes in a local variable, so no traceback can print them."""

import base64
import hashlib
import hmac
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest
import rich.console
import rich.traceback

from noli.core import key as key_module
from noli.core import keyfile, keystream
from noli.core.errors import NoliError
from noli.core.key import Key

RAW = bytes(range(100, 132))
PHRASE = "correct horse battery staple"
HOME = str(Path(keyfile.__file__).parents[1])


def _forms(raw: bytes) -> list[str]:
    return [
        raw.hex(),
        raw.hex().upper(),
        repr(raw)[2:-1],
        base64.b64encode(raw).decode(),
        str(list(raw))[1:-1],
    ]


PRK = hmac.digest(bytes(32), RAW, "sha256")
SEED = hmac.digest(PRK, b"noli/v1/p/i\x01", "sha256")
FORBIDDEN = [*_forms(RAW), *_forms(RAW[:31]), *_forms(PRK), *_forms(SEED), PHRASE]


def _shown(error: BaseException) -> str:
    """What the standard library and rich print of noli's frames, locals included, and of the error itself."""
    tb: TracebackType | None = error.__traceback__
    while tb is not None and not tb.tb_frame.f_code.co_filename.startswith(HOME):
        tb = tb.tb_next  # this test's own frames hold the secret on purpose
    assert tb is not None, "the failure did not come from noli"
    plain = "".join(traceback.TracebackException(type(error), error, tb, capture_locals=True).format())
    console = rich.console.Console(file=io.StringIO(), width=5000)
    console.print(
        rich.traceback.Traceback.from_exception(
            type(error), error, tb, show_locals=True, locals_max_length=10_000, locals_max_string=10_000
        )
    )
    assert isinstance(console.file, io.StringIO)
    context = [repr(e) + repr(vars(e)) for e in (error, error.__cause__, error.__context__) if e is not None]
    return plain + console.file.getvalue() + "".join(context)


def _damaged(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "damaged.key"
    document = json.loads((folder / "plain.key").read_text())
    change(document)
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfile, "SCRYPT_N", 2**14)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr("os.urandom", lambda n: RAW[:n])
        Key.new(tmp_path / "plain.key")
        Key.new(tmp_path / "locked.key", passphrase=PHRASE)
    return tmp_path


def _truncate(folder: Path) -> Path:
    path = folder / "damaged.key"
    path.write_text((folder / "plain.key").read_text()[:-40])
    path.chmod(0o600)
    return path


def _misspell(document: dict[str, Any]) -> None:
    document["keys"][0]["secrte"] = document["keys"][0].pop("secret")


def _wrong_id(document: dict[str, Any]) -> None:
    document["keys"][0]["key_id"] = "0" * 16


def _long_secret(document: dict[str, Any]) -> None:
    document["keys"][0]["secret"] += "00"


def _as_label(document: dict[str, Any]) -> None:
    document["label"] = document["keys"][0]["secret"] * 4


def _as_name(document: dict[str, Any]) -> None:
    document["keys"][0][document["keys"][0]["secret"]] = 1


USER_MISTAKES: dict[str, Callable[[Path], object]] = {
    "short secret": lambda f: Key.from_bytes(RAW[:31]),
    "secret as text": lambda f: Key.from_bytes(RAW.hex()),  # type: ignore[arg-type]
    "constructor": lambda f: Key(RAW[:31]),  # type: ignore[arg-type]
    "constructor, bad label": lambda f: Key(RAW, "a\nb"),  # type: ignore[arg-type]
    "bad label": lambda f: Key.from_bytes(RAW, "a\nb"),
    "bad info": lambda f: Key.from_bytes(RAW).subkey(3),  # type: ignore[arg-type]
    "bad stream": lambda f: Key.from_bytes(RAW).stream("p", 3),  # type: ignore[arg-type]
    "bad count": lambda f: Key.from_bytes(RAW).stream("p", "i").u64(-1),
    "bad bound": lambda f: Key.from_bytes(RAW).stream("p", "i").integers(3, 0),
    "pickle": lambda f: Key.from_bytes(RAW).__reduce_ex__(4),
    "truncated": lambda f: Key.load(_truncate(f)),
    "misspelt field": lambda f: Key.load(_damaged(f, _misspell)),
    "wrong id": lambda f: Key.load(_damaged(f, _wrong_id)),
    "long secret": lambda f: Key.load(_damaged(f, _long_secret)),
    "secret as label": lambda f: Key.load(_damaged(f, _as_label)),
    "secret as field name": lambda f: Key.load(_damaged(f, _as_name)),
    "unknown id": lambda f: Key.load(f / "plain.key", key_id="0" * 16),
    "superfluous passphrase": lambda f: Key.load(f / "plain.key", passphrase=PHRASE),
    "wrong passphrase": lambda f: Key.load(f / "locked.key", passphrase=PHRASE + "!"),
    "key exists": lambda f: Key.new(f / "plain.key", passphrase=PHRASE),
    "no folder": lambda f: Key.new(f / "none" / "x.key", passphrase=PHRASE),
    "rotate, wrong passphrase": lambda f: Key.rotate(f / "locked.key", passphrase=PHRASE + "!"),
}


@pytest.mark.parametrize("mistake", USER_MISTAKES)
def test_mistakes_do_not_show_the_secret(folder: Path, mistake: str) -> None:
    with pytest.raises((NoliError, TypeError, AttributeError, ValueError)) as caught:
        USER_MISTAKES[mistake](folder)
    shown = _shown(caught.value)
    assert not [form for form in FORBIDDEN if form in shown]


# (module, attribute that fails, call)
INJECTED: list[tuple[Any, str, Callable[[Path], object]]] = [
    (keyfile.hashlib, "sha256", lambda f: Key.from_bytes(RAW)),
    (keyfile.hmac, "digest", lambda f: Key.from_bytes(RAW)),
    (key_module, "HKDF", lambda f: Key.from_bytes(RAW).stream("p", "i")),
    (keystream, "Cipher", lambda f: Key.from_bytes(RAW).stream("p", "i")),
    (keystream, "ChaCha20", lambda f: Key.from_bytes(RAW).stream("p", "i")),
    (keyfile.os, "fsync", lambda f: Key.new(f / "new.key", passphrase=PHRASE)),
    (keyfile.os, "fsync", lambda f: Key.rotate(f / "plain.key")),
    (keyfile.Ring, "render", lambda f: Key.new(f / "new.key")),
    (keyfile.Ring, "model_validate_json", lambda f: Key.load(f / "plain.key")),
    (keyfile.Wrapped, "open", lambda f: Key.load(f / "locked.key", passphrase=PHRASE)),
    (keyfile, "public_values", lambda f: Key.load(f / "plain.key")),
    (keyfile, "AESGCM", lambda f: Key.load(f / "locked.key", passphrase=PHRASE)),
    (keyfile, "Scrypt", lambda f: Key.load(f / "locked.key", passphrase=PHRASE)),
    (keyfile.json, "dumps", lambda f: Key.new(f / "new.key", passphrase=PHRASE)),
]


@pytest.mark.parametrize("case", range(len(INJECTED)))
def test_failures_inside_do_not_show_the_secret(
    folder: Path, case: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, call = INJECTED[case]
    real_urandom = os.urandom
    with monkeypatch.context() as patch:
        patch.setattr("os.urandom", lambda n: RAW[:n] if n == 32 else real_urandom(n))
        # `ord` refuses whatever it gets here, and has no Python frame whose arguments could be shown.
        patch.setattr(place, name, ord)
        with pytest.raises(TypeError, match=r"ord\(\)") as caught:
            call(folder)
    shown = _shown(caught.value)
    assert not [form for form in FORBIDDEN if form in shown]


def test_the_check_would_notice_a_leak() -> None:
    namespace: dict[str, Any] = {}
    code = compile(
        "def leak(value):\n    copy = value\n    raise RuntimeError('x')\n", f"{HOME}/fake.py", "exec"
    )
    exec(code, namespace)  # noqa: S102
    with pytest.raises(RuntimeError) as caught:
        namespace["leak"](RAW)
    assert repr(RAW)[2:-1] in _shown(caught.value)


# The arguments that a caller hands over, up to the line that masks them: nothing before it can fail.
HANDED_OVER = {
    ("from_bytes", "secret"),
    ("new", "passphrase"),
    ("load", "passphrase"),
    ("rotate", "passphrase"),
    ("_masked", "passphrase"),
}


def test_no_local_variable_holds_a_secret_at_any_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[tuple[str, str]] = set()

    def look(frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        for name, value in list(frame.f_locals.items()):
            text = repr(value)
            if any(form in text for form in FORBIDDEN):
                found.add((frame.f_code.co_name, name))
        return look

    real_urandom = os.urandom
    monkeypatch.setattr("os.urandom", lambda n: RAW[:n] if n == 32 else real_urandom(n))
    before = sys.gettrace()
    sys.settrace(look)
    try:
        key = Key.from_bytes(RAW)
        key.stream("p", "i").permutation_fy(5)
        key.stream("p", "i").normal(5)
        key.subkey("noli/v1/p/i")
        key.public()
        Key.new(folder / "new.key", passphrase=PHRASE)
        Key.load(folder / "new.key", passphrase=PHRASE)
        Key.load(folder / "plain.key")
        Key.keyring(folder / "plain.key")
        monkeypatch.undo()
        Key.rotate(folder / "new.key", passphrase=PHRASE)
        Key.rotate(folder / "plain.key")
        Key.revoke(folder / "plain.key", key.id)
    finally:
        sys.settrace(before)
    assert found <= HANDED_OVER
    assert ("from_bytes", "secret") in found  # the watch works


def test_models_of_the_key_file_mask_their_dumps(folder: Path) -> None:
    ring = keyfile.read(folder / "plain.key")
    for shown in (repr(ring), str(ring), repr(ring.render()), repr(ring.model_dump())):
        assert RAW.hex() not in shown
    assert RAW.hex() in ring.render().get_secret_value().decode()


def test_nothing_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        key = Key.load(folder / "locked.key", passphrase=PHRASE)
        key.stream("p").bytes(3)
        logging.getLogger("test").debug("using %s %r", key, key)
    assert not [form for form in FORBIDDEN if form in caplog.text]
    assert hashlib.sha256(b"keyid" + RAW).hexdigest()[:16] in caplog.text
