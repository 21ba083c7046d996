"""The server of `pipeline demo`: what it answers, and what it refuses."""

import http.client
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.site import server
from tests.harness import project
from tests.harness.process import free_port, responds, running

SEVEN = project.ROOT / "docs" / "seven.png"
BITS = "/read/bits-lstm24"


@pytest.fixture(scope="module")
def address(trained: Path) -> Iterator[str]:
    here = Path.cwd()
    os.chdir(trained)
    try:
        with server.running(free_port()) as address:
            yield address
    finally:
        os.chdir(here)


Answer = tuple[int, bytes, http.client.HTTPMessage]


def ask(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """The status, the content and the headers of an answer; `headers` take the place of those of the page itself."""
    return ask_within(30, address, method, path, body, **headers)


def ask_within(
    seconds: float, address: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> Answer:
    """What `ask` gives, if it comes within so many seconds."""
    host = address.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=seconds)
    try:
        connection.putrequest(method, path, skip_host=True)
        own = {"Host": host} | ({"Origin": address, "Content-Length": str(len(body))} if body is not None else {})
        for name, value in (own | {key.replace("_", "-"): value for key, value in headers.items()}).items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def test_every_file_of_the_page_has_its_type_and_the_policy(address: str) -> None:
    for path, kind in {
        "/": "text/html; charset=utf-8",
        "/app.js": "text/javascript; charset=utf-8",
        "/style.css": "text/css; charset=utf-8",
        "/site.json": "application/json; charset=utf-8",
        "/models/bits-lstm24/weights.bin": "application/octet-stream",
    }.items():
        status, content, headers = ask(address, "GET", path)
        assert (status, headers["Content-Type"], bool(content)) == (200, kind, True)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        page = (project.ROOT / "pipeline/site/static/index.html").read_text()
        for_others, _, _ = policy.partition("; frame-ancestors")
        assert f'content="{for_others}"' in page, "for other servers"
        assert ask(address, "HEAD", path)[:2] == (200, b"")


def test_an_input_becomes_what_the_model_reads(address: str) -> None:
    status, content, _ = ask(address, "POST", BITS, b"01101010")
    assert status == 200
    assert json.loads(content) == {"features": [[int(bit)] for bit in "01101010"], "steps": list("01101010")}
    read = json.loads(ask(address, "POST", "/read/mnist-lstm128", SEVEN.read_bytes())[1])
    assert (len(read["features"]), len(read["features"][0])) == (28, 28)


@pytest.mark.parametrize(
    ("model", "body", "said"),
    [
        ("bits-lstm24", b"012", "contains '2'"),
        ("bits-lstm24", b"\xff", "not UTF-8"),
        ("fable-lstm512", b"no such words", "is not a word of"),
        ("mnist-lstm128", b"no picture", "is not a picture"),
        ("mnist-lstm128", b"", "is empty"),
    ],
)
def test_a_bad_input_gets_a_sentence(address: str, model: str, body: bytes, said: str) -> None:
    status, content, _ = ask(address, "POST", f"/read/{model}", body)
    assert (status, said in json.loads(content)["error"]) == (200, True)


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (421, "GET", "/", {"Host": "example.org"}),
        (421, "GET", "/", {"Host": "127.0.0.1"}),
        (421, "GET", "/", {"Host": "[::1"}),
        (421, "GET", "/", {"Host": ""}),
        (421, "GET", "/", {"Host": "evil.com@127.0.0.1"}),
        (404, "GET", "http://[", {}),
        (403, "GET", "/", {"Origin": "http://example.org"}),
        (403, "GET", "/", {"Origin": "null"}),
        (403, "GET", "/site.json", {"Sec_Fetch_Site": "cross-site"}),
        (403, "GET", "/", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"}),
        (403, "GET", "/", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document", "Origin": "http://x.org"}),
        (200, "GET", "/", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}),
        (404, "GET", "/../params.yaml", {}),
        (404, "GET", "/%2e%2e/params.yaml", {}),
        (404, "GET", "/" + "a" * 6000, {}),
        (404, "GET", "/read/bits-lstm24", {}),
        (403, "POST", BITS, {"Origin": ""}),
        (403, "POST", BITS, {"Origin": "http://127.0.0.1:1"}),
        (403, "POST", BITS, {"Sec_Fetch_Site": "same-site"}),
        (404, "POST", "/read/none", {}),
        (404, "POST", "/", {}),
        (411, "POST", BITS, {"Content_Length": ""}),
        (411, "POST", BITS, {"Content_Length": "-1"}),
        (411, "POST", BITS, {"Transfer_Encoding": "chunked"}),
        (411, "POST", BITS, {"Content_Length": "+8"}),
        (413, "POST", "/read/mnist-lstm128", {"Content_Length": "50000001"}),
        (413, "POST", BITS, {"Content_Length": "100001"}),
        (413, "POST", BITS, {"Content_Length": "9" * 5000}),
        (501, "PUT", "/", {}),
        (501, "OPTIONS", BITS, {}),
    ],
)
def test_what_is_no_request_of_the_page_is_refused(
    address: str, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    body = b"01101010" if method == "POST" else None
    assert ask(address, method, path, body, **headers)[0] == status


def test_what_the_library_refuses_has_the_policy_and_no_page_of_its_own(address: str) -> None:
    for line in (
        b"GET\r\n\r\n",
        b"PUT / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n",
    ):
        with connect(address) as connection:
            connection.sendall(line)
            answer = b"".join(iter(lambda: connection.recv(10_000), b"")).decode()
        assert answer.startswith(("HTTP/1.1 4", "HTTP/1.1 5")), line[:40]
        assert "default-src 'none'" in answer
        assert "text/plain" in answer


def test_an_input_that_ends_early_or_comes_late_is_not_read(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.Handler, "timeout", 1)
    host = address.removeprefix("http://")
    half = f"POST {BITS} HTTP/1.1\r\nHost: {host}\r\nOrigin: {address}\r\nContent-Length: 100\r\n\r\n01"
    for ends, status in ((True, b"HTTP/1.1 400"), (False, b"HTTP/1.1 408")):
        with connect(address) as connection:
            connection.sendall(half.encode())
            if ends:
                connection.shutdown(socket.SHUT_WR)
            assert connection.recv(12) == status
    with connect(address) as connection:  # byte by byte, none of them late
        connection.sendall(half.encode())
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - started < 10:
                connection.sendall(b"0")
                time.sleep(0.1)
                if select.select([connection], [], [], 0)[0]:
                    break
        assert time.monotonic() - started < 5
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_a_slow_line_gets_a_whole_file(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.Handler, "timeout", 1)
    monkeypatch.setattr(server, "PIECE", 1000)
    path = "/models/mnist-lstm128/weights.bin"
    expected = ask(address, "GET", path)[1]
    host = address.removeprefix("http://")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect((host.partition(":")[0], int(host.partition(":")[2])))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while piece := connection.recv(max(len(expected) // 30, 1)):
            received += piece
            time.sleep(0.1)
    assert received.endswith(expected)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.Handler, "timeout", 1)
    host = address.removeprefix("http://")
    for beginning in (b"GET /", f"GET / HTTP/1.1\r\nHost: {host}\r\nX-A: ".encode()):
        with connect(address) as connection:
            connection.sendall(beginning)
            started = time.monotonic()
            while not select.select([connection], [], [], 0.2)[0]:
                assert time.monotonic() - started < 5, "each byte was in time"
                with suppress(ConnectionError):
                    connection.sendall(b"a")
            with suppress(ConnectionError):
                assert not connection.recv(12).startswith(b"HTTP/1.1 200")
    kept = http.client.HTTPConnection(host, timeout=30)  # stays open between requests in time
    for _ in range(3):
        kept.request("GET", "/site.json")
        answer = kept.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
        time.sleep(0.5)
    kept.close()


def test_connections_have_a_limit(address: str) -> None:
    others = threading.active_count()  # of other libraries, for other tests of this process
    with ExitStack() as stack:
        for _ in range(server.CONNECTIONS + 20):
            stack.enter_context(connect(address))
        time.sleep(1)
        assert threading.active_count() - others <= 2 * server.CONNECTIONS + 1, "a thread and a timer for each"
    wait = time.monotonic() + 10
    while time.monotonic() < wait:
        with suppress(ConnectionError):
            if ask(address, "POST", BITS, b"01101010")[0] == 200 and threading.active_count() < others + 10:
                return
    pytest.fail("the server does not answer any more")


def test_a_picture_that_was_made_to_be_slow_is_given_up_and_texts_are_answered_meanwhile(address: str) -> None:
    with io.BytesIO() as file:
        Image.radial_gradient("L").save(file, "GIF")
        picture = file.getvalue()
    comments = b"\x21\xfe" + b"\x01a" * 20_000_000 + b"\0"  # which Pillow joins, one by one
    start = 13 + 3 * 256  # after the header and the colours
    picture = picture[:start] + comments + picture[start:]
    with ThreadPoolExecutor() as threads:
        # Its ten seconds are of the processor; on a busy machine they last longer.
        slow = threads.submit(ask_within, 120, address, "POST", "/read/mnist-lstm128", picture)
        time.sleep(2)
        started = time.monotonic()
        assert ask(address, "POST", BITS, b"01101010")[0] == 200
        assert time.monotonic() - started < 2
        status, answer, _ = slow.result()
    assert (status, "could not be decoded in 10 seconds and 2 GB" in json.loads(answer)["error"]) == (200, True)


def test_two_hosts_are_refused(address: str) -> None:
    host = address.removeprefix("http://")
    with connect(address) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nHost: example.org\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 421"


def test_slow_and_lost_browsers_keep_nobody_waiting(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.Handler, "timeout", 1)
    host = address.removeprefix("http://")
    slow = [connect(address) for _ in range(50)]
    half = f"POST {BITS} HTTP/1.1\r\nHost: {host}\r\nOrigin: {address}\r\nContent-Length: 100\r\n\r\n01"
    for connection in slow:
        connection.sendall(half.encode())
    started = time.monotonic()
    assert ask(address, "POST", BITS, b"01101010")[0] == 200
    assert time.monotonic() - started < 5
    for connection in slow[:25]:
        connection.close()
    for connection in slow[25:]:
        assert connection.recv(12) == b"HTTP/1.1 408"
        connection.close()


def test_a_port_that_is_taken_is_named(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    with socket.socket() as other:
        other.bind((server.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PipelineError, match=f"port {port} of 127.0.0.1 is taken"), server.running(port):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_program_leaves_nothing_behind(trained: Path, tmp_path: Path, number: signal.Signals) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("nohup, which started the tests, has the program ignore this signal, as it should")
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    log = tmp_path / "log"
    with running(command, log, lambda: responds(f"http://127.0.0.1:{port}"), cwd=trained, env=environment) as process:
        assert [path for path in tmp_path.iterdir() if path != log] == [], "the page is in memory"
        process.send_signal(number)
        process.wait(30)
    assert [path for path in tmp_path.iterdir() if path != log] == []
    assert "Traceback" not in log.read_text()


def test_site_writes_a_page_by_command(exported: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "site", "page", "--precision", "float16"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(project.ROOT)},
    )
    assert done.stdout.startswith("page: a page with 3 models, ")
    assert (exported / "page/index.html").is_file()
