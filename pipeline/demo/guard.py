"""Whom the page's server hears, and whom it asks: this machine alone."""

import os
import re
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

LOCAL = {"127.0.0.1", "localhost", "::1"}
UPLOAD = "/gradio_api/upload"
MOST = {UPLOAD: 52_000_000}  # bytes of a request
MOST_ELSEWHERE = 4_000_000
# What the page itself asks for. Gradio offers more: to fetch addresses, to run functions by name, to monitor.
PATHS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|svelte)/.*"
    r"|/gradio_api/(queue/join|queue/data|upload|upload_progress|startup-events|theme\.css|info|app_id|cancel|reset)/?"
    r"|/gradio_api/heartbeat/\w+|/gradio_api/file=(?!\w+:).*"
)


class Door:
    """ASGI middleware that refuses what the page does not ask: other names of the host, paths, and large requests."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and not (status := _refused(scope))):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})


def _refused(scope: Any) -> int:
    """The HTTP status with which a request is refused; 0 if it is not."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    # A page of another name that points to this machine could read whatever it asks.
    if (urlsplit(f"//{headers.get('host', '')}").hostname or "") not in LOCAL:
        return 421
    if not PATHS.fullmatch(scope["path"]):
        return 404
    if scope["method"] in ("GET", "HEAD"):
        return 0
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return 411
    return 413 if int(length) > MOST.get(scope["path"], MOST_ELSEWHERE) else 0


def stay_local() -> None:
    """Refuse all connections of this process to other machines, but for the tracking server that the user has named."""
    allowed = {*LOCAL, *_tracking_server()}

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            host = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        host = host.decode() if isinstance(host, bytes) else host
        if host is not None and host not in allowed:
            raise PermissionError(f"the page asks no other machine: {host}")

    sys.addaudithook(audit)


def _tracking_server() -> set[str]:
    """The name and the addresses of the host in MLFLOW_TRACKING_URI."""
    host = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", "")).hostname
    if not host:
        return set()
    try:
        return {host, *(str(found[4][0]) for found in socket.getaddrinfo(host, None))}
    except OSError:
        return {host}


def environment(folder: str) -> dict[str, str]:
    """What the libraries read: no variable of Gradio's that somebody has set, no proxy on the way to this machine."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    exempt = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost"]))
    return {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": folder,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MPLCONFIGDIR": folder,
        "NO_PROXY": exempt,
        "no_proxy": exempt,
    }
