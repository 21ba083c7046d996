"""A machine of a cluster: `python node.py --head` on the first, then `python node.py ADDRESS:6379` on each other one.

`pipeline keys` puts this file beside the keys of the cluster. It needs Ray, and nothing of the project. It ends with
Ctrl-C. More words go to `ray start`. A machine that the first one lost, since the network was down, joins again. If its
disk is full, it leaves, so that its work goes on elsewhere, and joins again when there is space.
"""

import contextlib
import importlib
import ipaddress
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PORT = 6379
SECONDS = 2  # for one answer
START = 20  # seconds; Ray that ends earlier was never there
AGAIN = 5  # seconds until a lost machine tries to join again
FULL = 1 << 30  # bytes that are left on a full disk; of a small one, 5 %
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_process_group_cleanup_enabled": "1",  # the stages of a worker that is killed end with it
}
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # asked without a token, too
ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):([1-9][0-9]{0,4})")
FILES = AUTHORITY, CERTIFICATE, KEY, TOKEN = "authority.pem", "node.pem", "node-key.pem", "token"


class Refused(Exception):  # noqa: N818  # a sentence, not a fault
    """Why a cluster cannot be used, and what to do."""


def variables(folder: Path) -> dict[str, str]:
    """What Ray reads from the environment to use the keys in a folder."""
    authority, certificate, key, token = (str(folder / name) for name in FILES)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": token,
        "RAY_USE_TLS": "1",
        "RAY_TLS_CA_CERT": authority,
        "RAY_TLS_SERVER_CERT": certificate,
        "RAY_TLS_SERVER_KEY": key,
        "RAY_TMPDIR": private_folder(),
    }


def private_folder() -> str:
    """A folder for Ray's temporary files and sockets that nobody else can open: Ray lets everybody write into its own.

    Its path is short: that of a socket has at most 107 bytes. Raises Refused if another user has made it.
    """
    parent = os.environ.get("TMPDIR", "") if sys.platform == "linux" else ""
    path = Path(parent or "/tmp") / f"lstm-ray-{os.getuid()}"  # noqa: S108
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise Refused(f"{path} could not be made ({error.strerror}); free some space, or set TMPDIR.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused(f"{path} is not a folder that you alone can open; remove it.")
    return str(path)


def require_keys(folder: Path) -> None:
    """Raise Refused unless the keys in a folder can be used: two sides with them, here, accept each other."""
    sides = []
    try:
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise ValueError(f"{missing[0]} is missing")
        if not (folder / TOKEN).read_text(encoding="ascii").strip():
            raise ValueError("the token is empty")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        for server in (True, False):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
            context.load_verify_locations(folder / AUTHORITY)
            context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password=lambda: b"")
            pair = (to_server, to_client) if server else (to_client, to_server)
            sides.append(context.wrap_bio(*pair, server_side=server))
        for side in 2 * sides[::-1]:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except (OSError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error
        raise Refused(
            f"the keys in {folder} cannot be used ({reason}); make new ones with `pipeline keys`, and copy them to all "
            "machines."
        ) from None


def require_safe(address: str, insecure: bool = False) -> None:
    """Raise Refused unless a Ray cluster at HOST:PORT has the keys in Ray's environment, and asks everybody for them.

    `insecure` accepts one without encryption or token. It takes a few seconds at most, where Ray would take minutes.
    """
    encrypted = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")
    match = ADDRESS.fullmatch(address)
    if not match or int(match[2]) >= 1 << 16:  # what came may hold a password: it is not shown
        raise Refused(f"the address is not of the form HOST:PORT, such as 10.0.0.1:{PORT} or [fd00::1]:{PORT}.")
    host = match[1].strip("[]")
    try:
        socket.create_connection((host, int(match[2])), timeout=SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise Refused(f"nothing answers at {address} ({error}); start the first machine, or fix the address.") from None
    if not (encrypted or insecure or _is_here(host)):
        raise Refused(
            f"this machine has no keys for {address}, without which whoever listens on the network reads the token; "
            "make them with `pipeline keys`, or give --insecure in a network that you trust."
        )
    code, said = _ask(address, encrypted, _token())
    if code == "UNAUTHENTICATED":
        raise Refused(f"the cluster at {address} has another token; copy the same keys to all machines.")
    if code != "OK":
        other = "is not encrypted" if "WRONG_VERSION" in said else "has other keys"
        raise Refused(f"the cluster at {address} {other}, or is none; start all machines with the same keys.")
    if not insecure and _ask(address, encrypted, "")[0] == "OK":
        raise Refused(
            f"the cluster at {address} asks for no token: whoever reaches it runs code on it. Start its machines with "
            "keys, or give --insecure in a network that you trust."
        )
    try:
        here = version("ray")
    except PackageNotFoundError:
        raise Refused(f"{sys.executable} has no Ray; install requirements-cluster.lock.") from None
    if here not in said:
        raise Refused(f"the cluster at {address} has another version of Ray than {here}; install the same lock file.")


def require_same_python(address: str) -> None:
    """Raise Refused unless a Ray cluster was started with this version of Python: Ray would raise, with a traceback."""
    from ray._common.usage.usage_lib import get_cluster_metadata
    from ray.exceptions import RpcError

    compiled = importlib.import_module("ray._raylet")
    try:
        there = get_cluster_metadata(compiled.GcsClient(address=address))["python_version"]
    except (RpcError, AttributeError):  # nothing is written yet
        raise Refused(f"the cluster at {address} is only starting, or ending; try again.") from None
    python = ".".join(map(str, sys.version_info[:3]))
    if there != python:
        raise Refused(f"the cluster at {address} has Python {there}, this machine has {python}; use the same on both.")


def _ask(address: str, encrypted: bool, token: str) -> tuple[str, str]:
    """The status of the cluster's answer to a request with this token, and what it says."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    def read(name: str) -> bytes:
        return Path(os.environ[name]).read_bytes()

    if encrypted:
        try:
            names = ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_SERVER_CERT")
            credentials = grpc.ssl_channel_credentials(*map(read, names))
        except (OSError, KeyError) as error:
            raise Refused(f"the keys cannot be read ({error}); copy them to this machine.") from None
        channel = grpc.secure_channel(address, credentials)
    else:
        channel = grpc.insecure_channel(address)
    with channel:
        call = channel.unary_unary(ALIVE, request_serializer=bytes, response_deserializer=bytes)
        try:
            metadata = [("authorization", f"Bearer {token}")] if token else []
            return "OK", call(b"", timeout=SECONDS, metadata=metadata).decode(errors="replace")
        except grpc.RpcError as error:
            status: Any = error
            return str(status.code().name), str(status.details())


def _token() -> str:
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return ""  # no cluster's


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_address(addresses: list[str]) -> str:
    """That of this machine. Raises Refused if it has none of these."""
    for address in addresses:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as it:
            it.bind((address, 0))
            return address
    raise Refused(
        f"this machine has none of the addresses {', '.join(addresses)}; make keys with its address, and copy them to "
        "all machines."
    )


def main(words: list[str]) -> int:
    """Start Ray, and wait until it ends; return the exit status."""
    folder = Path(__file__).resolve().parent
    if not words:
        raise Refused(f"give --head on the first machine, and its ADDRESS:{PORT} on each other one.")
    require_keys(folder)
    os.environ.update(SETTINGS | variables(folder))
    try:
        here = own_address((folder / "addresses").read_text(encoding="utf-8").split())
    except (OSError, UnicodeError):
        raise Refused(f"{folder} has no keys of a cluster that can be read; copy them anew.") from None
    head, more = words[0] == "--head", words[1:]
    where = ["--head", f"--port={PORT}", "--include-dashboard=false"] if head else [f"--address={words[0]}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, f"--node-ip-address={here}", "--block"]
    told, joined = threading.Event(), False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    while not told.is_set():
        try:
            if not head:
                _require_space()
                require_safe(words[0])
                require_same_python(words[0])
        except Refused:
            if not joined:
                raise
        else:
            print(f"{here}: {'the first machine' if head else 'joins ' + words[0]}", flush=True)
            started = time.monotonic()
            lost = _run([*command, *more], told, leaves=not head)
            joined = joined or time.monotonic() - started > START
            if lost and (head or not joined):
                raise Refused(
                    f"{lost}; what it said is above, and in {os.environ['RAY_TMPDIR']}/ray/session_latest/logs."
                )
            if lost:
                print(f"{here}: {lost}; joins again when it can", flush=True)
        told.wait(AGAIN)
    return 0


def _run(command: list[str], told: threading.Event, leaves: bool) -> str:
    """Run Ray until it ends, or until this process is told to end; return why it ended, "" for the latter.

    `leaves`: whether a full disk ends it.
    """
    process, full = subprocess.Popen(command, stdout=subprocess.DEVNULL), False
    while process.poll() is None and not full and not told.wait(1):
        try:
            _require_space()
        except Refused:
            full = leaves
    if process.poll() is None:
        process.terminate()
        process.wait()
    if told.is_set():
        return ""
    return "the disk is full" if full else f"Ray ended with status {process.returncode}"


def _require_space() -> None:
    """Raise Refused if the disk of temporary files, on which Ray and trials write, is full."""
    folder = tempfile.gettempdir()
    usage = shutil.disk_usage(folder)
    if usage.free < min(FULL, usage.total // 20):
        raise Refused(f"the disk of {folder} is full ({usage.free >> 20} MiB are free); free some space.")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refused:
        print(f"error: {refused}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
