"""`mlflow ui` on the project's store, with its settings, and the page that shows the runs."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable

from pipeline.config import Config
from pipeline.errors import PipelineError, redact
from pipeline.tracking import connection, ui
from pipeline.tracking.experiments import experiment_id

HOST = "127.0.0.1"
SECONDS = 120  # until the server must answer


def serve(config: Config, port: int, browser: bool, report: Callable[[str], None]) -> None:
    """Start the user interface on this machine, say its address, open it, and wait for Ctrl-C.

    Raises PipelineError if the store is a server, which has a user interface already, or if the port is taken.
    """
    _require_free(port)  # another server there would answer in the place of ours
    uri = connection.tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise PipelineError(f"the MLflow store is a server; open {redact(uri)} in a browser.")
    with connection.connected() as client:
        page = ui.page(experiment_id(client, next(iter(config.tasks))))
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not an argument: a list of processes would show a password
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # more processes, for what this project does not use
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(server, address)
            report(f"{address}/{page} (Ctrl-C ends it)")
            if browser:
                webbrowser.open(f"{address}/{page}")
            server.wait()
        except KeyboardInterrupt:
            report("")
        finally:
            server.terminate()


def _require_free(port: int) -> None:
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, port))
        except OSError as error:
            raise PipelineError(f"port {port} cannot be used ({error.strerror}); choose another with --port.") from None


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for this machine
    for _ in range(SECONDS * 5):
        if server.poll() is not None:
            break
        try:
            opener.open(f"{address}/health", timeout=5).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
        else:
            return
    raise PipelineError(f"`mlflow ui` did not start at {address}; start it yourself to see why.")
