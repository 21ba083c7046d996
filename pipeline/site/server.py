"""Serve the page on this machine alone, and read what a browser cannot: photos, and inputs of a task of one's own.

Only this page may ask: other names of this machine, other pages and other methods are refused.
"""

import errno
import json
import mimetypes
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.errors import PipelineError
from pipeline.inference import predict
from pipeline.inference.predict import Predictor
from pipeline.site.build import build

HOST = "127.0.0.1"
PORTS = range(7860, 7960)  # tried in order
LARGEST = 50_000_000  # bytes of an input
SECONDS = 20  # that a browser may take to send or to receive something
READ = "/read/"  # and the name of a model: what it reads of the input in the body
# index.html holds the same policy, for other servers.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
TYPES = {".js": "text/javascript", ".bin": "application/octet-stream"}


@contextmanager
def running(port: int | None) -> Iterator[str]:
    """The address of the page, while the `with` lasts: this port, or the first free one from 7860 on.

    Raises PipelineError if no model is exported, or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="pipeline-demo-") as folder:
        site = Path(folder) / "site"
        models = {built.name: predict.load(built.name) for built in build(site, local=True)}
        with serving(site, models, [port] if port else PORTS) as address:
            yield address


@contextmanager
def serving(site: Path, models: dict[str, Predictor], ports: Sequence[int]) -> Iterator[str]:
    """The address of a page that was built, while the `with` lasts, at the first of these ports that is free."""
    with _listening(ports, site, models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()


def _listening(ports: Sequence[int], site: Path, models: dict[str, Predictor]) -> "Server":
    for port in ports:
        try:
            return Server(port, site, models)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or len(ports) == 1:
                reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                raise PipelineError(f"port {port} of {HOST} {reason}; choose another one with --port.") from None
    raise PipelineError(f"all ports of {HOST} from {ports[0]} to {ports[-1]} are taken; choose one with --port.")


class Server(ThreadingHTTPServer):
    """Answers each request in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128  # browsers that wait to be answered; more are refused

    def __init__(self, port: int, site: Path, models: dict[str, Predictor]):
        super().__init__((HOST, port), Handler)
        self.site, self.models = site, models
        self.files = {f"/{path.relative_to(site).as_posix()}": path for path in site.rglob("*") if path.is_file()}
        self.reading = threading.Lock()  # one input at a time: a large picture takes memory while it is decoded
        self.names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; anything else is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: Server
    timeout = SECONDS
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pipeline", ""

    def do_GET(self) -> None:
        """Send a file of the page."""
        path = unquote(urlsplit(self.path).path)
        file = self.server.files.get("/index.html" if path == "/" else path)
        if self._refused():
            return
        if file is None:
            self._answer(HTTPStatus.NOT_FOUND, b"not found", "text/plain")
        else:
            kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            self._answer(HTTPStatus.OK, file.read_bytes(), kind)

    def do_HEAD(self) -> None:
        """Send what GET would, without the content."""
        self.do_GET()

    def do_POST(self) -> None:
        """Send what a model reads of the input in the body: features, a name for each step, the image if it is one."""
        if self._refused():
            return
        model = self.server.models.get(unquote(self.path.removeprefix(READ))) if self.path.startswith(READ) else None
        length = self.headers.get("Content-Length", "")
        if model is None:
            self._answer(HTTPStatus.NOT_FOUND, b"not found", "text/plain")
        elif self.headers.get("Transfer-Encoding") or not length.isdecimal():
            self._answer(HTTPStatus.LENGTH_REQUIRED, b"a Content-Length is needed", "text/plain")
        elif int(length) > LARGEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"an input has at most 50 MB", "text/plain")
        else:
            self._read(model, self.rfile.read(int(length)))

    def _read(self, model: Predictor, content: bytes) -> None:
        try:
            with self.server.reading:
                features, steps = model.features(content if model.reads_files else content.decode())
            answer: dict[str, Any] = {"features": features.tolist(), "steps": steps}
        except PipelineError as error:
            answer = {"error": str(error)}
        except UnicodeDecodeError:
            answer = {"error": "the input is not UTF-8; type it again."}
        self._answer(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _refused(self) -> bool:
        """Whether a request is not one of this page, and was refused."""
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        if len(hosts) != 1 or hosts[0] not in self.server.names:
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"this page has another name", "text/plain")
        elif origin not in (None, f"http://{hosts[0]}") or self.headers.get("Sec-Fetch-Site") in (
            "cross-site",
            "same-site",
        ):
            self._answer(HTTPStatus.FORBIDDEN, b"another page may not ask", "text/plain")
        elif self.command == "POST" and origin is None:
            self._answer(HTTPStatus.FORBIDDEN, b"only the page itself may ask", "text/plain")
        else:
            return False
        return True

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        charset = "; charset=utf-8" if kind.startswith(("text/", "application/json")) else ""
        for name, value in (HEADERS | {"Content-Type": kind + charset, "Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        if status != HTTPStatus.OK:  # what may be left of the request is not read
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the name in the library
        """Print nothing of a request."""
