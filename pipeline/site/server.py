"""Serve the page on this machine alone, and read what a browser cannot: photos, and inputs of a task of one's own.

Only this page may ask: other names of this machine, other pages and other methods are refused.
"""

import errno
import json
import mimetypes
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pipeline.errors import PipelineError
from pipeline.inference import predict
from pipeline.inference.predict import Predictor
from pipeline.site.build import build

Files = dict[str, bytes]  # content by path, such as /index.html

HOST = "127.0.0.1"
PORTS = range(7860, 7960)  # tried in order
HTTP = 80  # the port that an address leaves out
LARGEST = 50_000_000  # bytes of a picture
LONGEST = 100_000  # bytes of a text
LARGE = 1_000_000  # bytes, above which an input waits for its turn
TURNS = 4  # large inputs that are received at once
CONNECTIONS = 256  # that are open at once
PIECE = 2**18  # bytes that are received or sent at once
SECONDS = 20  # that a browser may take for the head of a request, for one piece, and for all of an input
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
        models = {built.name: predict.load(built.name) for built in build(Path(folder) / "site", local=True)}
        files = read_files(Path(folder) / "site")
    with serving(files, models, [port] if port else PORTS) as address:
        yield address


def read_files(site: Path) -> Files:
    """The files of a page that was built."""
    return {f"/{path.relative_to(site).as_posix()}": path.read_bytes() for path in site.rglob("*") if path.is_file()}


@contextmanager
def serving(files: Files, models: dict[str, Predictor], ports: Sequence[int]) -> Iterator[str]:
    """The address of a page with these files, while the `with` lasts, at the first of these ports that is free."""
    with _listening(ports, files, models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()


def _listening(ports: Sequence[int], files: Files, models: dict[str, Predictor]) -> "Server":
    for port in ports:
        try:
            return Server(port, files, models)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or len(ports) == 1:
                reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                raise PipelineError(f"port {port} of {HOST} {reason}; choose another one with --port.") from None
    raise PipelineError(f"all ports of {HOST} from {ports[0]} to {ports[-1]} are taken; choose one with --port.")


class Server(ThreadingHTTPServer):
    """Answers each connection in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128  # browsers that wait to be answered; more are refused

    def __init__(self, port: int, files: Files, models: dict[str, Predictor]):
        super().__init__((HOST, port), Handler)
        self.files, self.models = files, models
        self.connections = threading.BoundedSemaphore(CONNECTIONS)
        self.turns = threading.BoundedSemaphore(TURNS)
        # One picture, and one text, at a time: a large one takes memory until it is read.
        self.reading = {reads_files: threading.Lock() for reads_files in (True, False)}
        port_in_host = "" if self.server_port == HTTP else f":{self.server_port}"
        self.names = {f"{name}{port_in_host}" for name in (HOST, "localhost")}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection, or close it if there are too many."""
        if self.connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection until it is closed."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; anything else is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: Server
    timeout = SECONDS
    is_late = False
    disable_nagle_algorithm = True  # else each answer after the first waits for the acknowledgement of its header
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # whose errors have headers
    server_version, sys_version = "pipeline", ""

    def handle_one_request(self) -> None:
        """Answer a request; one whose head has not come in time is not waited for, however slowly it comes."""
        self.late = threading.Timer(self.timeout, self._stop_reading)
        self.late.daemon = True
        self.late.start()
        try:
            super().handle_one_request()
        finally:
            self.late.cancel()

    def parse_request(self) -> bool:
        """Read the head of a request. Returns whether it is one; else an error was sent."""
        is_request = super().parse_request()
        self.late.cancel()
        if is_request and self.is_late:  # what came before the end was taken for all of it
            self._say(HTTPStatus.REQUEST_TIMEOUT, f"a request has to come within {self.timeout} seconds")
        return is_request and not self.is_late

    def _stop_reading(self) -> None:
        self.is_late = True
        with suppress(OSError):  # it was closed just now
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        """Send a file of the page."""
        path = unquote(self.path.partition("?")[0])
        path = "/index.html" if path == "/" else path
        if self._refused():
            return
        if path not in self.server.files:
            self._say(HTTPStatus.NOT_FOUND, "not found")
        else:
            kind = TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
            self._answer(HTTPStatus.OK, self.server.files[path], kind)

    def do_HEAD(self) -> None:
        """Send what GET would, without the content."""
        self.do_GET()

    def do_POST(self) -> None:
        """Send what a model reads of the input in the body: features, and a name for each step."""
        if self._refused():
            return
        model = self.server.models.get(unquote(self.path.removeprefix(READ))) if self.path.startswith(READ) else None
        length = self.headers.get("Content-Length", "")
        if model is None:
            self._say(HTTPStatus.NOT_FOUND, "not found")
        elif self.headers.get("Transfer-Encoding") or not re.fullmatch("[0-9]+", length):
            self._say(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed")
        elif len(length) > len(str(LARGEST)) or int(length) > (LARGEST if model.reads_files else LONGEST):
            most = f"{LARGEST // 10**6} MB" if model.reads_files else f"{LONGEST:,} bytes"
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an input has at most {most}")
        else:
            with self.server.turns if int(length) > LARGE else nullcontext():
                self._answer_input(model, int(length))

    def _answer_input(self, model: Predictor, length: int) -> None:
        try:
            content = self._received(length)
        except TimeoutError:
            self._say(HTTPStatus.REQUEST_TIMEOUT, f"an input has to come within {self.timeout} seconds")
        except EOFError:
            self._say(HTTPStatus.BAD_REQUEST, "the input ended before its Content-Length")
        else:
            self._read(model, content)

    def _received(self, length: int) -> bytes:
        """The body, of so many bytes. Raises TimeoutError if it takes too long, EOFError if it ends before."""
        content, late = bytearray(), time.monotonic() + self.timeout
        while len(content) < length:
            piece = self.rfile.read1(min(PIECE, length - len(content)))
            if not piece:
                raise EOFError
            if time.monotonic() > late:
                raise TimeoutError
            content += piece
        return bytes(content)

    def _read(self, model: Predictor, content: bytes) -> None:
        try:
            with self.server.reading[model.reads_files]:
                features, steps = model.features(content if model.reads_files else content.decode())
                answer = json.dumps({"features": features.tolist(), "steps": steps}).encode()
        except PipelineError as error:
            answer = json.dumps({"error": str(error)}).encode()
        except UnicodeDecodeError:
            answer = json.dumps({"error": "the input is not UTF-8; type it again."}).encode()
        self._answer(HTTPStatus.OK, answer, "application/json")

    def _refused(self) -> bool:
        """Whether a request is not one of this page, and was refused."""
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        of_another = self.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        is_link = self.command == "GET" and self.headers.get("Sec-Fetch-Dest") == "document" and origin is None
        if len(hosts) != 1 or hosts[0] not in self.server.names:
            self._say(HTTPStatus.MISDIRECTED_REQUEST, "this page has another name")
        elif origin not in (None, f"http://{hosts[0]}") or (of_another and not is_link):
            self._say(HTTPStatus.FORBIDDEN, "another page may not ask")
        elif self.command == "POST" and origin is None:
            self._say(HTTPStatus.FORBIDDEN, "only the page itself may ask")
        else:
            return False
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say what the library found wrong with a request, as an answer of ours."""
        self._say(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._answer(status, text.encode(), "text/plain")

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
            for start in range(0, len(content), PIECE):  # each within its time: a line may be slow
                self.wfile.write(content[start : start + PIECE])

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the name in the library
        """Print nothing of a request."""
