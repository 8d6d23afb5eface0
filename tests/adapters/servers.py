"""Services on loopback that answer, refuse, dawdle and break as real ones do; a clock that never waits."""

from __future__ import annotations

import base64
import io
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noli.adapters.config_file import make_endpoint
from noli.adapters.endpoint import Endpoint

COLOURS = ("red", "green", "blue")


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def picture(self) -> np.ndarray:
        """Decode the picture in the field `image` of a JSON body."""
        return decoded(base64.b64decode(self.json["image"]))


@dataclass
class Sent:
    """What goes back; with `drop_after` the connection is cut behind that many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None


Behaviour = Callable[[Seen], Sent]


def said(document: Any, status: int = 200, **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(json.dumps(document).encode(), status, {"Content-Type": "application/json", **named})


def decoded(raw: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(raw)))


@dataclass
class Server:
    url: str
    seen: list[Seen] = field(default_factory=list)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client hangs up: some tests are about that."""


def _handler(server: Server, behave: Behaviour) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two of them wait 40 ms for each other

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, body)
            server.seen.append(seen)
            self._send(behave(seen))

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def _send(self, sent: Sent) -> None:
            self.send_response_only(sent.status)  # no Date of its own: some tests send one
            for name, value in {"Content-Length": str(len(sent.body)), **sent.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent.body[: sent.drop_after])
            if sent.drop_after is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    return Handler


@contextmanager
def serve(behave: Behaviour, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a service on a free port of 127.0.0.1 while the block lasts."""
    server = Server("")
    listening = _Quiet(("127.0.0.1", 0), _handler(server, behave))
    if context is not None:
        listening.socket = context.wrap_socket(
            listening.socket, server_side=True, do_handshake_on_connect=False
        )
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{listening.server_address[1]}/predict"
    thread = threading.Thread(target=listening.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def in_turn(*behaviours: Behaviour | Sent) -> Behaviour:
    """Behave as listed, one request after the other; the last one goes on for ever."""
    left = list(behaviours)

    def behave(seen: Seen) -> Sent:
        one = left.pop(0) if len(left) > 1 else left[0]
        return one if isinstance(one, Sent) else one(seen)

    return behave


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Time:
    """A clock that passes only when somebody sleeps; `waits` is what was slept."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.moment

    def now(self) -> float:
        return 1_800_000_000.25 + self.moment

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.moment += seconds


def image_settings(url: str, **changes: Any) -> dict[str, Any]:
    body = {"kind": "json", "template": {"image": "{image_png_base64}"}}
    return {"url": url, "body": body, "response_path": "label", "jitter": 0, **changes}


def text_settings(url: str, **changes: Any) -> dict[str, Any]:
    body = {"kind": "json", "template": {"text": "{prompt}", "n": "{max_tokens}"}}
    return {"url": url, "body": body, "response_path": "text", "jitter": 0, **changes}


def endpoint(settings: dict[str, Any], time: Time | None = None) -> Endpoint:
    time = time or Time()
    return Endpoint(make_endpoint(settings), clock=time.clock, sleep=time.sleep, now=time.now)


@contextmanager
def asking(
    behave: Behaviour,
    make: Callable[..., dict[str, Any]] = image_settings,
    time: Time | None = None,
    **changes: Any,
) -> Iterator[tuple[Endpoint, Server]]:
    """Run a service and an endpoint that asks it."""
    with serve(behave) as server, endpoint(make(server.url, **changes), time) as one:
        yield one, server


def colours(picture: np.ndarray) -> dict[str, float]:
    """A classifier: the share of each colour in a picture."""
    means = picture.reshape(-1, 3).mean(0) + 1e-9
    return dict(zip(COLOURS, (means / means.sum()).tolist(), strict=True))


def top_1(seen: Seen) -> Sent:
    shares = colours(seen.picture())
    return said({"label": max(shares, key=shares.__getitem__)})


def coloured(*shares: int, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    """A picture with some grain whose channels have about these means."""
    grain = np.arange(size[0] * size[1] * 3).reshape(*size, 3) % 3
    return (np.array(shares) + grain).astype(np.uint8)


def own_authority(folder: Path) -> tuple[ssl.SSLContext, Path, bytes]:
    """Make a certificate for 127.0.0.1: the server's context, the PEM to trust, its bytes in DER form."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(hosts, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem, key = folder / "ca.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context, pem, certificate.public_bytes(serialization.Encoding.DER)
