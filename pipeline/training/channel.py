"""What the workers of a training send each other: bytes, by TLS, between the first worker and each of the others.

Each shows a certificate of the cluster's authority (keys.py); who has none is not answered. The first worker alone
listens, at its own address, until all others are there.
"""

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from queue import Empty, Queue

from pipeline.errors import PipelineError, quoted
from pipeline.training import keys

PATIENCE = 1800  # seconds for all workers to come
GREETING = 5  # seconds for a peer to show its certificate and to say who it is
SILENCE = 100  # seconds after which a machine that acknowledges nothing is lost
# Of a host: labels of at most 63 letters, or an IP address. A socket raises other errors for other names.
NAME = re.compile(r"([A-Za-z0-9_-]{1,63}\.){0,9}[A-Za-z0-9_-]{1,63}|[0-9a-fA-F]*:[0-9a-fA-F:.]+")
TURNS = 64  # peers that are greeted at once
LENGTH = struct.Struct("!Q")
LARGEST = 1 << 16  # bytes of a greeting


class LostError(Exception):
    """Another worker ended, or cannot be reached."""


class Channel:
    """The connections of this worker: the first worker has one to each of the others, which have one to it."""

    def __init__(self, addresses: Sequence[str], index: int, facts: dict[str, str]):
        """Wait until all workers are there.

        `facts` must be equal on all. Raises PipelineError if they are not, or without keys.
        """
        self._index = index
        host, _, port = addresses[0].rpartition(":")
        first = host.strip("[]"), int(port)
        if not NAME.fullmatch(first[0]):
            raise PipelineError(f"{quoted(host)} in TF_CONFIG is not the name of a host; fix it.")
        if index:
            self._peers = [_join(first, index, facts)]
        else:
            self._peers = _gather(first, len(addresses), facts)
        for peer in self._peers:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """End the connections."""
        for peer in self._peers:
            peer.close()

    def exchange(self, content: bytes, merge: Callable[[list[bytes]], bytes]) -> bytes:
        """What `merge` makes, on the first worker, of the contents of all, in their order. Raises LostError."""
        try:
            if self._index:
                _send(self._peers[0], content)
                return _receive(self._peers[0])
            merged = merge([content, *(_receive(peer) for peer in self._peers)])
            for peer in self._peers:
                _send(peer, merged)
            return merged
        except OSError as error:
            raise LostError(str(error) or type(error).__name__) from None


def _gather(address: tuple[str, int], number: int, facts: dict[str, str]) -> list[ssl.SSLSocket]:
    """Connections to workers 1, 2, ... Whoever else comes is sent away."""
    context, come = keys.context(server=True), Queue[tuple[int, dict[str, str], ssl.SSLSocket]]()
    peers: dict[int, ssl.SSLSocket] = {}
    try:
        listener = socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    except OSError as error:
        raise PipelineError(
            f"the first worker cannot listen at {address[0]}:{address[1]} ({error.strerror or error}); give an address "
            "of this machine and a free port in TF_CONFIG."
        ) from None
    with listener, ExitStack() as opened:
        threading.Thread(target=_accept, args=(listener, context, come), daemon=True).start()
        end = time.monotonic() + PATIENCE
        while len(peers) < number - 1:
            try:
                index, theirs, peer = come.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                missing = ", ".join(str(each) for each in range(1, number) if each not in peers)
                raise PipelineError(
                    f"worker {missing} did not come within {PATIENCE // 60} minutes; start it."
                ) from None
            opened.callback(peer.close)
            with suppress(OSError):  # lost already: the first exchange says so
                if 0 < index < number:
                    _send(peer, json.dumps(facts).encode())
            _require_equal(facts, theirs, index)
            if 0 < index < number and index not in peers:
                peers[index] = peer
        opened.pop_all()
    return [peers[index] for index in sorted(peers)]


def _accept(
    listener: socket.socket, context: ssl.SSLContext, come: "Queue[tuple[int, dict[str, str], ssl.SSLSocket]]"
) -> None:
    """Greet each that connects, in a thread of its own, until the listener is closed.

    Where many connect and say nothing, the oldest of them are sent away: a worker needs a moment.
    """
    greeted: list[ssl.SSLSocket] = []  # the oldest first

    def greet(peer: ssl.SSLSocket) -> None:
        try:
            peer.do_handshake()
            said = json.loads(_receive(peer, LARGEST))
            _keep(peer)
            come.put((int(said["worker"]), dict(said["facts"]), peer))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            peer.close()  # a stranger
        finally:
            greeted.remove(peer)

    listener.settimeout(0.2)  # a thread that waits in accept keeps the port open
    while listener.fileno() >= 0:
        with suppress(OSError):
            connection = listener.accept()[0]
            connection.settimeout(GREETING)
            peer = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            greeted.append(peer)
            for oldest in greeted[:-TURNS]:
                with suppress(OSError):
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)  # its thread ends
            threading.Thread(target=greet, args=(peer,), daemon=True).start()


def _join(address: tuple[str, int], index: int, facts: dict[str, str]) -> ssl.SSLSocket:
    """A connection to the first worker."""
    context, end, said = keys.context(server=False), time.monotonic() + PATIENCE, False
    where = f"{address[0]}:{address[1]}"
    while True:
        try:
            connection = socket.create_connection(address, timeout=GREETING)
            break
        except OSError as error:  # not started yet, or not known by its name
            if not said:
                print(f"worker {index} waits for the first worker at {where} ({_reason(error)})", flush=True)
                said = True
            if time.monotonic() > end:
                raise PipelineError(
                    f"the first worker did not come at {where} within {PATIENCE // 60} minutes ({error}); start it."
                ) from None
            time.sleep(0.2)
    peer = context.wrap_socket(connection, do_handshake_on_connect=False)
    try:
        peer.do_handshake()
        _send(peer, json.dumps({"worker": index, "facts": facts}).encode())
        peer.settimeout(PATIENCE)  # the first worker may be busy with others
        theirs = dict(json.loads(_receive(peer, LARGEST)))
        _require_equal(facts, theirs, 0)
    except (OSError, ValueError, TypeError) as error:
        peer.close()
        raise PipelineError(
            f"what listens at {where} did not accept this worker, or has other keys ({_reason(error)}); copy the same "
            f"keys into {quoted(str(keys.folder()))} on all machines, and start all workers again."
        ) from None
    except PipelineError:
        peer.close()
        raise
    _keep(peer)
    return peer


def _require_equal(facts: dict[str, str], theirs: dict[str, str], index: int) -> None:
    """Raise PipelineError, with the name of what differs."""
    for name, here in facts.items():
        if (there := theirs.get(name)) != here:
            raise PipelineError(
                f"worker {index} has {name} {quoted(str(there))}, this worker has {here}; use the same on all workers."
            )


def _keep(peer: ssl.SSLSocket) -> None:
    """Wait for the peer as long as its machine is there: it may be slow."""
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENCE // 10),
        ("TCP_KEEPINTVL", SILENCE // 10),
        ("TCP_KEEPCNT", 9),
        ("TCP_USER_TIMEOUT", SILENCE * 1000),
    ):
        if hasattr(socket, name):  # not on macOS
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(peer: ssl.SSLSocket, content: bytes) -> None:
    peer.sendall(LENGTH.pack(len(content)) + content)


def _receive(peer: ssl.SSLSocket, largest: int = 1 << 40) -> bytes:
    (length,) = LENGTH.unpack(_read(peer, LENGTH.size))
    if length > largest:
        raise ConnectionError(f"{length} bytes were announced")
    return bytes(_read(peer, length))


def _read(peer: ssl.SSLSocket, length: int) -> bytearray:
    content = bytearray(length)
    view, read = memoryview(content), 0
    while read < length:
        if not (size := peer.recv_into(view[read:])):
            raise ConnectionError("the other side ended")
        read += size
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "reason", "") or str(error) or type(error).__name__
