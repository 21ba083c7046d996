"""Area of the campaign: requests to the server of `pipeline demo` that no browser sends."""

import atexit
import io
import random
import socket
import time
from contextlib import ExitStack, redirect_stderr
from functools import cache

from pipeline.site import server
from tests.attack.mutations import damaged
from tests.harness import project

PATHS = [f"/read/{name}" for name in project.MODELS]
PATHS += [
    "/",
    "/site.json",
    "/../params.yaml",
    "/%2e%2e/x",
    "//x",
    "http://[",
    "*",
    "/%ff%00",
    "/" + "a" * 70_000,
    "/read/x",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "get", "", "G\x00T", "P" * 70_000]
VERSIONS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/9.9", "HTTP/", "", "X"]
LENGTHS = ["0", "8", "7", "9", "-1", "+8", "1e3", "9" * 5000, "50000001", "\xb2", ""]
OTHERS = [
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Host: x",
    ": x",
    "x",
    "A: " + "a" * 70_000,
    "Cookie: \xff",
]
SECONDS = 5  # for an answer on a busy machine


def requests(rng: random.Random) -> tuple[str, str]:
    """A request with wrong or damaged parts: an answer or a closed connection, and the next one is answered."""
    host, port = _address()
    name = f"{host}:{port}"
    origin = rng.choice([f"http://{name}"] * 3 + ["null", "http://evil.example"])
    lines = [
        f"{rng.choice(METHODS)} {rng.choice(PATHS)} {rng.choice(VERSIONS)}",
        f"Host: {rng.choice([name] * 4 + ['[::1', 'x', ''])}",
        f"Origin: {origin}",
        f"Content-Length: {rng.choice(LENGTHS)}",
        *rng.sample(OTHERS, rng.choice([0, 0, 1, 2])),
    ]
    body = rng.choice([b"01101010", b"\xff\xfe", b"\x89PNG\r\n", b"[]", rng.randbytes(200)])
    content = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    if rng.random() < 0.3:
        content = damaged(content, rng)
    printed = io.StringIO()
    with redirect_stderr(printed):
        answer = _ask(content)
        good = _ask(f"GET /site.json HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    wrong = f"printed {printed.getvalue()[-200:]!r}" if printed.getvalue() else ""
    if not good.startswith(b"HTTP/1.1 200"):
        wrong = f"the next request got {good[:60]!r}"
    old = b" HTTP/0.9\r\n" in content  # whose answers have no headers
    if answer and not old and not answer.startswith(b"HTTP/1.1 "):
        wrong = f"the answer is {answer[:60]!r}"
    return f"a request {content[:60]!r}", wrong


@cache
def _address() -> tuple[str, int]:
    """The server, which runs until this process ends."""
    stack = ExitStack()
    address = stack.enter_context(server.running(None))
    atexit.register(stack.close)
    server.Handler.timeout = 1
    host, _, port = address.removeprefix("http://").partition(":")
    return host, int(port)


def _ask(content: bytes) -> bytes:
    """The beginning of an answer; nothing if the server hangs up."""
    end = time.monotonic() + SECONDS
    with socket.create_connection(_address(), timeout=SECONDS) as connection:
        try:
            connection.sendall(content)
            answer = connection.recv(1000)
        except ConnectionError:
            return b""
    return answer if time.monotonic() < end else b"late: " + answer
