"""What workers send each other, and who is kept out."""

import datetime
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.training import channel, keys
from pipeline.training.channel import Channel, LostError
from pipeline.training.distributed import Workers
from tests.harness import project
from tests.harness.process import free_port, until

FACTS = {"python": "3", "numpy": "2"}


@pytest.fixture
def addresses() -> list[str]:
    return [f"127.0.0.1:{free_port()}", "127.0.0.1:1", "127.0.0.1:2"]


@pytest.fixture(autouse=True)
def own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    keys.write(keys.make(), folder)
    monkeypatch.setenv("PIPELINE_KEYS", str(folder))
    return folder


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [each.result(60) for each in [threads.submit(call) for call in calls]]


@contextmanager
def connected(addresses: list[str]) -> Iterator[list[Workers]]:
    workers = [Workers(tuple(addresses), index) for index in range(len(addresses))]
    at_once(*(lambda each=each: each.connect(FACTS) for each in workers))
    yield workers
    for each in workers:
        each.channels[0].close()


def test_all_workers_get_the_same_sums_added_in_their_order(addresses: list[str]) -> None:
    rng = np.random.default_rng(0)
    shares = [[rng.normal(size=shape).astype(np.float32) for shape in ((300, 7), (), (5,))] for _ in addresses]
    with connected(addresses) as workers:
        for _ in range(3):
            sums = at_once(*(lambda w=w, s=s: w.sum(s) for w, s in zip(workers, shares, strict=True)))
            for found in sums:
                for one, *parts in zip(found, *shares, strict=True):
                    assert one.dtype == np.float32
                    assert one.shape == parts[0].shape
                    np.testing.assert_array_equal(one, (parts[0] + parts[1]) + parts[2])


def test_all_workers_get_the_arrays_of_the_first(addresses: list[str]) -> None:
    mine = [[np.array(index), np.full((2, 3), index, np.float32)] for index in range(3)]
    with connected(addresses) as workers:
        for found in at_once(*(lambda w=w, m=m: w.broadcast(m) for w, m in zip(workers, mine, strict=True))):
            assert found[0] == 0
            np.testing.assert_array_equal(found[1], np.zeros((2, 3)))


def test_different_weights_are_found_on_each_worker(addresses: list[str]) -> None:
    with connected(addresses) as workers:
        at_once(*(lambda w=w: w.require_equal([np.zeros(3)]) for w in workers))

        def refused(worker: Workers) -> str:
            with pytest.raises(PipelineError) as error:
                worker.require_equal([np.full(3, worker.index == 1)])
            return str(error.value)

        assert all("different weights" in text for text in at_once(*(lambda w=w: refused(w) for w in workers)))


def test_a_worker_that_ends_is_lost_to_the_others(addresses: list[str]) -> None:
    with connected(addresses) as workers:
        workers[2].channels[0].close()

        def lost(worker: Workers) -> None:
            with pytest.raises(LostError):
                worker.sum([np.zeros(3)])
            worker.channels[0].close()  # as its process ends

        at_once(*(lambda w=w: lost(w) for w in workers[:2]))


@pytest.mark.parametrize(("facts", "name"), [({"numpy": "1"}, "numpy"), ({"python": None}, "python")])
def test_what_differs_is_named_on_both_sides(addresses: list[str], facts: dict[str, str], name: str) -> None:
    def refused(index: int, facts: dict[str, str]) -> str:
        with pytest.raises(PipelineError) as error:
            Channel(addresses[:2], index, facts)
        return str(error.value)

    first, other = at_once(lambda: refused(0, FACTS), lambda: refused(1, FACTS | facts))
    assert first.startswith(f"worker 1 has {name} ")
    assert other.startswith(f"worker 0 has {name} ")
    assert first.endswith("use the same on all workers.")


def stranger_context(folder: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if folder:
        context.load_cert_chain(folder / keys.CERTIFICATE, folder / keys.KEY)
    return context


def test_whoever_has_no_certificate_is_sent_away_while_workers_are_awaited(
    addresses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GREETING", 1)
    keys.write(keys.make(), tmp_path / "others")
    port = int(addresses[0].rpartition(":")[2])
    started, firsts = threading.Event(), []

    def first() -> None:
        started.set()
        firsts.append(Channel(addresses[:2], 0, FACTS))

    thread = threading.Thread(target=first)
    thread.start()
    started.wait()

    def connect() -> socket.socket:
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=10)
            except ConnectionRefusedError:
                threading.Event().wait(0.05)
        raise AssertionError("nobody listens")

    def answer(connection: socket.socket) -> bytes:
        with connection:
            try:
                return connection.recv(1000)
            except ConnectionResetError:
                return b""

    silent, plain = connect(), connect()
    plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert answer(plain)[:1] in (b"", b"\x15"), "nothing, or an alert of TLS"
    greeting = json.dumps({"worker": 1, "facts": FACTS}).encode()
    for folder in (None, tmp_path / "others"):
        with pytest.raises(OSError, match=r"ALERT|EOF|reset|ended|certificate"):  # noqa: SIM117
            with stranger_context(folder).wrap_socket(connect()) as peer:
                channel._send(peer, greeting)
                channel._receive(peer)
    assert answer(silent) == b"", "a silent stranger is sent away"
    other = Channel(addresses[:2], 1, FACTS)
    thread.join(30)
    answers = at_once(lambda: firsts[0].exchange(b"a", b"".join), lambda: other.exchange(b"b", b"".join))
    assert answers == [b"ab", b"ab"]
    firsts[0].close()
    other.close()
    assert until(lambda: not [each for each in threading.enumerate() if re.search("_accept|greet", each.name)], 5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_worker_gives_nothing_to_a_first_worker_with_other_keys(
    addresses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.write(keys.make(), tmp_path / "others")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "others" / keys.CERTIFICATE, tmp_path / "others" / keys.KEY)
    received = []
    with socket.create_server(("127.0.0.1", int(addresses[0].rpartition(":")[2]))) as listener:

        def serve() -> None:
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                received.append(peer.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(PipelineError, match=r"did not accept this worker, or has other keys"):
            Channel(addresses[:2], 1, FACTS)
        thread.join(10)
    assert received == []


def test_without_keys_there_is_no_training(addresses: list[str], own_keys: Path) -> None:
    for path in own_keys.iterdir():
        path.unlink()
    for index in (0, 1):
        with pytest.raises(PipelineError, match=r"has no keys of a cluster that can be read; make them with"):
            Channel(addresses[:2], index, FACTS)


def test_keys_are_for_their_owner_alone_and_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    keys.write(keys.make(["10.0.0.1", "::1"]), folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    project.run(tmp_path, "git", "init", "--quiet")
    assert project.run(tmp_path, "git", "status", "--porcelain").stdout.split() == [], "no key gets into a commit"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(PipelineError, match=r"is there, with the keys of a cluster; remove it to make others"):
        keys.write(keys.make(), folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert b"PRIVATE" not in before[folder / keys.AUTHORITY], "the authority signs no more"


@pytest.mark.parametrize("address", ["nonsense", "", "0.0.0.0", "::", "fe80::1%eth0", "10.0.0.0/8", "10.0.0.1:1"])  # noqa: S104
def test_an_address_by_which_no_machine_is_reached_is_refused(address: str) -> None:
    with pytest.raises(PipelineError, match=r"is not the IP address of a machine; give those of all machines"):
        keys.make(["10.0.0.1", address])
    with pytest.raises(PipelineError, match=r"501 addresses are more than 500"):
        keys.make(501 * ["10.0.0.1"])


def test_a_folder_without_keys_is_not_said_to_have_some(tmp_path: Path) -> None:
    for folder in (tmp_path, Path("/"), Path()):
        with pytest.raises(PipelineError, match=r" is there; name a new folder\."):
            keys.write(keys.make(), folder)


def test_expired_keys_are_named_by_their_date(
    addresses: list[str], own_keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "VALID", datetime.timedelta(seconds=-1))
    for name, content in keys.make().items():
        (own_keys / name).write_bytes(content)
    for index in (0, 1):
        with pytest.raises(PipelineError, match=r"expired on [A-Z][a-z]{2} .* GMT; make new ones with `pipeline keys`"):
            Channel(addresses[:2], index, FACTS)


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "a\0b", "\u00e4\ud800", ""])
def test_what_is_no_name_of_a_host_is_a_sentence(host: str) -> None:
    for index in (0, 1):
        with pytest.raises(PipelineError, match=r"in TF_CONFIG is not the name of a host; fix it"):
            Channel([f"{host}:2222", "127.0.0.1:1"], index, FACTS)


def test_many_that_connect_and_say_nothing_keep_no_worker_out(addresses: list[str]) -> None:
    port = int(addresses[0].rpartition(":")[2])
    silent: list[socket.socket] = []
    with ThreadPoolExecutor(1) as threads, ExitStack() as stack:
        first = threads.submit(Channel, addresses[:2], 0, FACTS)
        while len(silent) < 3 * channel.TURNS:
            with suppress(ConnectionRefusedError):
                silent.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
        started = time.monotonic()
        other = Channel(addresses[:2], 1, FACTS)
        assert time.monotonic() - started < channel.GREETING
        assert silent[0].recv(1) == b"", "the oldest was sent away"
        first.result(10).close()
        other.close()


def test_keys_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "new"
    with pytest.raises(PipelineError, match=r"could not be written"):
        keys.write(keys.make(), folder)
    folder.parent.mkdir()
    with pytest.raises(PipelineError, match=r"could not be written"):
        keys.write(keys.make() | {"no/such/folder": b""}, folder)
    assert list(folder.parent.iterdir()) == []
