"""Who has no keys: what a host on the same network can do, and what it is told."""

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.cluster.cluster import ADDRESS, KEYS, NODE, WORKERS, Cluster
from tests.cluster.conftest import MODEL
from tests.harness.process import until

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = [pytest.mark.cluster, pytest.mark.hosts]

# Asks each port in every way that Ray's or TensorFlow's may answer: prints the port and what came.
ASK = """
import socket, ssl, sys
import grpc
address, ports, folder = sys.argv[1], sys.argv[2].split(","), sys.argv[3]

def http(port, wrap):
    with socket.create_connection((address, port), 3) as plain, wrap(plain) as peer:
        peer.sendall(b"GET /nodes HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        return peer.recv(1000)

def anybody(connection):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)

def call(port, credentials):
    where = f"{address}:{port}"
    with grpc.secure_channel(where, credentials) if credentials else grpc.insecure_channel(where) as channel:
        for method in ("/ray.rpc.NodeInfoGcsService/CheckAlive", "/ray.rpc.NodeManagerService/GetNodeStats",
                       "/tensorflow.WorkerService/GetStatus", "/tensorflow.MasterService/ListDevices"):
            try:
                channel.unary_unary(method)(b"", timeout=3)
                return b"gRPC answers " + method.encode()
            except grpc.RpcError as error:
                if error.code().name not in ("UNAVAILABLE", "UNAUTHENTICATED", "DEADLINE_EXCEEDED"):
                    return error.code().name.encode()
    return b""

read = lambda name: open(f"{folder}/{name}", "rb").read()
others = grpc.ssl_channel_credentials(read("authority.pem"), read("node-key.pem"), read("node.pem"))
ways = {
    "http": lambda port: http(port, lambda peer: peer), "https": lambda port: http(port, anybody),
    "grpc": lambda port: call(port, None), "grpc with other keys": lambda port: call(port, others),
}
for port in map(int, ports):
    for name, way in ways.items():
        try:
            said = way(port)
        except OSError as error:
            said = b""
        print(port, name, said[:60].decode(errors="replace").split("\\r\\n")[0], sep="|")
"""


@pytest.fixture(scope="module")
def stranger(cluster: Cluster) -> Path:
    """A copy of the project on a host that has no keys, as that host sees it."""
    folder = cluster.folder / "stranger" / "srv" / "project"
    shutil.copytree(cluster.prepared, folder, symlinks=True)
    return Path("/srv/project")


def refused(cluster: Cluster, *command: str, sentence: str, keys: str = "/root/.lstm-cluster") -> None:
    """Run a command on the stranger's host: one sentence, within five seconds."""
    started = time.monotonic()
    done = cluster.hosts["stranger"].run("python", *command, cwd="/srv/project", ok=False, PIPELINE_KEYS=keys)
    seconds = time.monotonic() - started
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(rf"^error: {sentence}", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr
    assert seconds < 5, f"{seconds:.1f} s"


SWEEP = ("-m", "pipeline", "sweep", MODEL, "-S", "seed=1", "--address", ADDRESS)


def test_without_the_keys_of_a_cluster_nobody_joins_it(cluster: Cluster, stranger: Path) -> None:
    refused(cluster, *SWEEP, sentence=f"this machine has no keys for {ADDRESS}")
    refused(cluster, *SWEEP, "--insecure", sentence=f"the cluster at {ADDRESS} has other keys, or is none")
    others = "/root/others"
    host = cluster.hosts["stranger"]
    host.run("python", "-m", "pipeline", "keys", host.address, "--folder", others, cwd=str(stranger))
    refused(cluster, *SWEEP, sentence=f"the cluster at {ADDRESS} has other keys, or is none", keys=others)
    refused(cluster, f"{others}/node.py", ADDRESS, sentence=f"the cluster at {ADDRESS} has other keys, or is none")
    refused(cluster, f"{others}/node.py", "10.77.0.1:1", sentence=r"nothing answers at 10\.77\.0\.1:1 ")
    refused(cluster, f"{others}/node.py", sentence="give --head on the first machine")
    # The certificates without the token.
    stolen = cluster.folder / "stranger" / "root" / "stolen"
    shutil.copytree(cluster.folder / "driver" / KEYS, stolen)
    (stolen / "token").write_text("0" * 64)
    refused(cluster, *SWEEP, sentence=f"the cluster at {ADDRESS} has another token", keys="/root/stolen")
    refused(cluster, "/root/stolen/node.py", ADDRESS, sentence="this machine has none of the addresses 10.77.0.1, ")
    shutil.rmtree(stolen)


def test_no_open_port_of_a_cluster_answers_a_stranger_while_two_hosts_train(cluster: Cluster, stranger: Path) -> None:
    cluster.wait_for_workers()
    host = cluster.hosts["stranger"]
    if not (cluster.folder / "stranger" / "root" / "own").exists():
        host.run("python", "-m", "pipeline", "keys", host.address, "--folder", "/root/own", cwd=str(stranger))
    folder = cluster.project()
    training = cluster.begin(folder, "train", MODEL, "--workers", "2", "--address", ADDRESS)
    found = until(lambda: bool(cluster.find(WORKERS, "-m pipeline train")), 120)
    assert found, cluster.said(folder).read_text()
    for name in ("driver", *WORKERS):
        lines = cluster.hosts[name].run("ss", "-Hltn").stdout.splitlines()
        ports = sorted({line.split()[3].rpartition(":")[2] for line in lines if "127.0.0.1" not in line.split()[3]})
        assert ports
        answers = host.run("python", "-c", ASK, cluster.hosts[name].address, ",".join(ports), "/root/own").stdout
        assert len(answers.splitlines()) == 4 * len(ports)
        for line in answers.splitlines():
            _, way, said = line.split("|")
            assert not said.startswith("gRPC answers"), line
            assert not way.startswith("grpc") or not said, line
            assert not said.startswith("HTTP") or " 401 " in said, line
    assert training.wait(300) == 0, cluster.said(folder).read_text()


def test_a_cluster_that_asks_for_no_token_is_refused_unless_told_so(cluster: Cluster, stranger: Path) -> None:
    host, here = cluster.hosts["stranger"], "127.0.0.1:6379"
    words = (
        "start",
        "--head",
        "--port=6379",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=false",
        "--num-cpus=1",
    )
    host.run("python", "-m", "ray.scripts.scripts", *words, RAY_USAGE_STATS_ENABLED="0")
    train = ("-m", "pipeline", "train", MODEL, "--workers", "9", "--address", here)
    refused(cluster, *train, sentence=f"the cluster at {here} asks for no token: whoever reaches it runs code on it")
    done = host.run("python", *train, "--insecure", cwd=str(stranger), ok=False)
    assert "error: 9 workers, each with a CPU and 0 GPUs, are more than the 1" in done.stderr, done.stderr
    host.run("python", "-m", "ray.scripts.scripts", "stop", "--force")


def test_a_node_ends_when_it_is_told_to(cluster: Cluster) -> None:
    cluster.wait_for_workers()
    (node,) = cluster.find(("second",), f"python {NODE}")
    node.terminate()
    assert until(lambda: not cluster.find(("second",), "ray"), 60)
    cluster.join("second")
