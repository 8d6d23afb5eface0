"""A classifier behind a service on this machine, as a stranger's would be behind one on the network."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from noli.core.errors import NoliError
from noli.data.codec import upright

if TYPE_CHECKING:
    from noli.core.model import Model

HOST = "127.0.0.1"
# What a request and an answer look like, as the description of an endpoint says it.
ASKED: dict[str, Any] = {
    "body": {"kind": "json", "template": {"image": "{image_png_base64}"}},
    "response_path": "label",
}
_POLL_SECONDS = 0.05


@contextmanager
def served(model: Model, port: int = 0) -> Iterator[str]:
    """Serve a model while the block lasts: a picture in, the name of its first class out.

    Args:
        model: Classifier with class names.
        port: Where to listen if nobody else does; 0: on any free port.

    Yields:
        The address.
    """
    try:
        service = _Service(model, port)
    except OSError:
        service = _Service(model, 0)
    thread = threading.Thread(target=service.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{service.server_address[1]}/classify"
    finally:
        service.shutdown()
        thread.join()
        service.server_close()


class _Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, model: Model, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.model = model


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two of them wait 40 ms for each other
    server: _Service

    def do_POST(self) -> None:
        """Answer one picture."""
        status, document = self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, body: bytes) -> tuple[int, dict[str, str]]:
        try:
            picture = upright(base64.b64decode(json.loads(body)["image"], validate=True), "request")
        except (ValueError, KeyError, TypeError, NoliError):
            return 400, {"error": "send {image: a picture as base64}"}
        model = self.server.model
        return 200, {"label": model.class_names[int(model.predict(picture[None])[0].argmax())]}

    def log_message(self, *_: Any) -> None:
        """Keep quiet: the asking side notes every answer."""
