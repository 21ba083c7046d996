"""What a machine says whose keys are missing, damaged or of another cluster. No Ray is started."""

import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest

from pipeline.cluster import node
from pipeline.training import keys

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make cluster` installs it")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    keys.write(keys.make(["127.0.0.1"]) | {"node.py": Path(node.__file__).read_bytes()}, folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "keys"))


def serving(folder: Path, encrypted: bool = True, token: bool = True, says: str = "") -> tuple[grpc.Server, str]:
    """A server that answers as Ray does, with these keys."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            assert details.method == node.ALIVE
            given = dict(details.invocation_metadata).get("authorization")

            def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                if token and given != f"Bearer {(folder / keys.TOKEN).read_text()}":
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "")
                return (says or version("ray")).encode()

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([Handler()])
    if encrypted:
        pair = [((folder / keys.KEY).read_bytes(), (folder / keys.CERTIFICATE).read_bytes())]
        credentials = grpc.ssl_server_credentials(pair, (folder / keys.AUTHORITY).read_bytes(), True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in node.variables(folder).items():
        monkeypatch.setenv(name, value)
    yield


def refusal(address: str, insecure: bool = False) -> str:
    with pytest.raises(node.Refused) as refused:
        node.require_safe(address, insecure)
    return str(refused.value)


def test_a_cluster_with_the_same_keys_is_safe(made: Path) -> None:
    server, address = serving(made)
    node.require_safe(address)
    server.stop(None)


def test_what_is_wrong_with_a_cluster_is_said(made: Path, folder: Path) -> None:
    servers = [serving(made), serving(made, token=False), serving(made, says="9.9.9"), serving(made, encrypted=False)]
    safe, no_token, old, plain = (address for _, address in servers)
    assert "asks for no token: whoever reaches it runs code on it" in refusal(no_token)
    node.require_safe(no_token, insecure=True)
    assert "has another version of Ray than" in refusal(old)
    assert "is not encrypted, or is none" in refusal(plain)
    (folder / keys.TOKEN).write_text("0" * 64)
    assert "has another token" in refusal(safe)
    (folder / keys.TOKEN).write_bytes(b"\xff")
    assert "has another token" in refusal(safe)
    for name in (keys.AUTHORITY, keys.CERTIFICATE):
        (folder / name).write_bytes(b"nonsense")
        assert "has other keys, or is none" in refusal(safe)
    (folder / keys.KEY).unlink()
    assert "the keys cannot be read" in refusal(safe)
    for server, _ in servers:
        server.stop(None)


@pytest.mark.parametrize("damage", ["missing", "no folder", "not UTF-8", "empty", "of another machine"])
def test_a_node_without_its_addresses_ends_with_a_sentence(folder: Path, damage: str) -> None:
    path = folder / keys.ADDRESSES
    path.unlink()
    content = {"not UTF-8": b"\xff", "empty": b"", "of another machine": b"192.0.2.1"}.get(damage)
    if content is not None:
        path.write_bytes(content)
    if damage == "no folder":
        path.mkdir()
    done = subprocess.run(
        [sys.executable, str(folder / "node.py"), "--head"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def expire(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "VALID", datetime.timedelta(seconds=-1))
        for name, content in keys.make(["127.0.0.1"]).items():
            (folder / name).write_bytes(content)


def make_pipe(folder: Path) -> None:
    (folder / keys.TOKEN).unlink()
    os.mkfifo(folder / keys.TOKEN)


def exchange(folder: Path, *names: str) -> None:
    """Give a folder some of another cluster's keys."""
    others = keys.make(["127.0.0.1"])
    for name in names:
        (folder / name).write_bytes(others[name])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (expire, "certificate has expired"),
        (lambda folder: exchange(folder, keys.KEY), "KEY_VALUES_MISMATCH"),
        (lambda folder: exchange(folder, keys.KEY, keys.CERTIFICATE), "certificate signature failure"),
        (lambda folder: (folder / keys.CERTIFICATE).unlink(), "node.pem is missing"),
        (lambda folder: (folder / keys.CERTIFICATE).write_text("nonsense"), "PEM"),
        (lambda folder: (folder / keys.TOKEN).write_text(" \n"), "the token is empty"),
        (lambda folder: (folder / keys.TOKEN).write_bytes(b"\xff"), "ordinal not in range"),
        (make_pipe, "token is missing"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_before_ray_starts(
    folder: Path, damage: Callable[[Path], Any], reason: str
) -> None:
    node.require_keys(folder)
    damage(folder)
    command = [sys.executable, str(folder / "node.py"), "--head"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the keys in {folder} cannot be used (")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "address", ["", "http://user:secret@10.0.0.1:6379", "user:secret@10.0.0.1:6379", "10.0.0.1", "[::1", ":6379", "a:0"]
)
def test_an_address_of_another_form_is_refused_and_not_shown(address: str) -> None:
    assert "secret" not in (said := refusal(address))
    assert said.startswith("the address is not of the form HOST:PORT, such as 10.0.0.1:6379")


def test_rays_files_are_in_a_folder_that_nobody_else_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for _ in range(2):
        path = Path(node.private_folder())
        assert path.parent == tmp_path
        assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o755)
    with pytest.raises(node.Refused, match=r"is not a folder that you alone can open; remove it\."):
        node.private_folder()
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(node.Refused, match=r"is not a folder that you alone can open; remove it\."):
        node.private_folder()


@pytest.mark.parametrize("words", [[], ["nonsense"], ["127.0.0.1:9"], ["127.0.0.1:99999"], ["[::1"]])
def test_a_node_with_a_wrong_address_ends_with_a_sentence(folder: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(folder / "node.py"), *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_node_that_ray_does_not_start_ends_with_a_sentence(folder: Path) -> None:
    command = [sys.executable, str(folder / "node.py"), "--head", "--num-cpus", "many"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: Ray ended with status 2; what it said is above")
    assert "many" in done.stderr
