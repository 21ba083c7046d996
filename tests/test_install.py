"""The set-up: install.py in a folder of its own, with an index on this machine. No package is downloaded."""

import ast
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.training import keys
from tests.harness import process, project

LOCK = "requirements.lock"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a set-up reads, with an environment that is still empty."""
    folder = tmp_path_factory.mktemp("install")
    for name in ("install.py", LOCK, "requirements-uv.lock"):
        shutil.copy(project.ROOT / name, folder)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    return folder


def install(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run install.py with no uv on PATH, no settings of pip or uv but these, and empty caches."""
    environment = process.without("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "DVC_")
    programs = [entry for entry in environment["PATH"].split(os.pathsep) if not (Path(entry) / "uv").exists()]
    environment |= {"PATH": os.pathsep.join(programs), "HOME": str(folder / "home"), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [sys.executable, folder / "install.py", *words],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@contextmanager
def index(asked: list[str], certificate: Path | None = None) -> Iterator[str]:
    """The address of a package index that has no package, and notes who asks for which; HTTPS with a certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['User-Agent'].split('/')[0]} {self.path}")
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_old_python_can_read_it_and_says_what_it_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    import install as program

    ast.parse((project.ROOT / "install.py").read_text(), feature_version=(3, 6))
    monkeypatch.setattr(sys, "version_info", (3, 10, 1, "final", 0))
    with pytest.raises(program.SetupError, match=r"^this is Python 3\.10, expected 3\.11 to 3\.13; run this file with"):
        program.main(project.ROOT / LOCK)


def test_the_versions_of_python_are_those_of_pyproject() -> None:
    import install as program

    (major, oldest), (_, newest) = program.OLDEST, program.NEWEST
    line = f'requires-python = ">={major}.{oldest},<{major}.{newest + 1}"\n'
    assert line in (project.ROOT / "pyproject.toml").read_text()


def test_a_lock_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    done = install(folder, "requirement.lock")
    assert done.returncode == 2
    assert done.stderr.endswith("is not a file; name a lock file: requirements-uv.lock, requirements.lock.\n")


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_a_mirror_that_is_named_for_pip_or_for_uv_is_the_only_one_asked(folder: Path, variable: str) -> None:
    """The mirror has no uv, so pip takes its place, and it has no other package, either."""
    asked: list[str] = []
    with index(asked) as address:
        done = install(folder, LOCK, **{variable: address})
    assert done.returncode == 2, done.stderr
    assert "installing uv " in done.stdout
    assert "no wheel of uv" in done.stdout
    assert "pip could not install this; the lines above say why" in done.stderr
    assert asked == ["pip /simple/uv/", "pip /simple/setuptools/"]
    assert not (folder / ".venv" / f".from-{LOCK}").exists()


def test_uv_asks_the_mirror_that_is_named_for_pip(folder: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv", path=f"{project.BIN}{os.pathsep}{os.environ['PATH']}")
    assert uv, "the set-up installs it, or found it"
    (tmp_path / "uv").symlink_to(uv)
    asked: list[str] = []
    with index(asked) as address:
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = install(folder, LOCK, PATH=path, PIP_INDEX_URL=address, UV_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 2, done.stdout
    assert "uv could not install this" in done.stderr
    assert asked == ["uv /simple/setuptools/"]


def test_an_index_that_does_not_answer_is_a_sentence(folder: Path) -> None:
    done = install(folder, LOCK, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert done.returncode == 2
    assert done.stderr.startswith("error: pip gets no answer from its package index; connect to the network, or")
    assert "Traceback" not in done.stderr


def test_a_certificate_that_pip_does_not_know_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    """As that of a proxy which reads what passes."""
    made = keys.make(["127.0.0.1"])
    (tmp_path / "server.pem").write_bytes(made[keys.KEY] + made[keys.CERTIFICATE])
    (tmp_path / "authority.pem").write_bytes(made[keys.AUTHORITY])
    asked: list[str] = []
    with index(asked, tmp_path / "server.pem") as address:
        refused = install(folder, LOCK, PIP_INDEX_URL=address)
        assert not asked
        named = install(folder, LOCK, PIP_INDEX_URL=address, PIP_CERT=str(tmp_path / "authority.pem"))
    assert refused.returncode == 2
    assert "name the file with the proxy's certificate in PIP_CERT" in refused.stderr
    assert "certificate" not in named.stderr
    assert "pip /simple/uv/" in asked


def test_a_home_in_which_nothing_can_be_written_is_no_obstacle(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose user has none: uv's cache is in .venv."""
    for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "UV_CACHE_DIR" not in program.settings_for_uv()
    monkeypatch.setenv("HOME", os.devnull)
    assert program.settings_for_uv()["UV_CACHE_DIR"] == str(tmp_path / ".venv" / ".cache")


def test_a_uv_that_is_not_the_one_of_the_lock_is_not_installed(folder: Path, tmp_path: Path) -> None:
    """A file of that name and version, with other contents, in a folder of wheels."""
    name = (project.ROOT / "requirements-uv.lock").read_text().split()[0].replace("==", "-")
    wheel = tmp_path / f"{name}-py3-none-any.whl"
    shutil.make_archive(str(wheel), "zip", project.ROOT / "results")
    wheel.with_name(f"{wheel.name}.zip").rename(wheel)
    done = install(folder, LOCK, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 2
    assert "than requirements-uv.lock; use another index." in done.stderr


@pytest.fixture
def program(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """install.py, for a folder whose .venv is a link to one that works."""
    import install as program

    monkeypatch.setattr(program, "ROOT", tmp_path)
    for name, path in {"VENV": ".venv", "PYTHON": ".venv/bin/python", "UNFINISHED": ".venv/.unfinished"}.items():
        monkeypatch.setattr(program, name, tmp_path / path)
    shutil.copytree(folder / ".venv", tmp_path / ".venv", symlinks=True)
    (tmp_path / ".venv" / ".unfinished").unlink(missing_ok=True)
    return program


def test_an_environment_that_was_left_unfinished_moved_or_lost_its_pip_does_not_work(
    program: ModuleType, tmp_path: Path
) -> None:
    stamp = tmp_path / ".venv" / f".from-{LOCK}"
    assert program.venv_works()
    stamp.write_text(f"{tmp_path}\n")
    assert program.venv_works()
    stamp.write_text("/somewhere/else\n")
    assert not program.venv_works()
    stamp.unlink()
    program.UNFINISHED.touch()
    assert not program.venv_works()
    program.UNFINISHED.unlink()
    assert program.venv_works()
    for pip in tmp_path.glob(".venv/lib/python*/site-packages/pip"):
        shutil.rmtree(pip)
    assert not program.venv_works(), "as one that was killed while it was made"


def test_an_unfinished_environment_is_made_anew_and_unfinished_until_the_end(
    program: ModuleType, tmp_path: Path
) -> None:
    left = tmp_path / ".venv" / "lib" / "half-a-package.py"
    left.touch()
    program.make_venv("")
    assert not left.exists()
    assert program.UNFINISHED.exists()
    assert not program.venv_works()


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"#!/no/interpreter\n", b"#!/bin/sh\nprintf 'uv \\377'; exit 1\n"]
)
def test_a_uv_that_does_not_run_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    import install as program

    (tmp_path / "uv").write_bytes(content)
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert program.on_path("uv") == ""


def test_other_settings_of_pip_are_no_obstacle(folder: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    with index(asked) as address:
        settings = {"PIP_VERBOSE": "1", "PIP_TARGET": str(tmp_path / "elsewhere"), "PIP_DRY_RUN": "1"}
        done = install(folder, LOCK, PIP_INDEX_URL=address, **settings)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert asked == ["pip /simple/uv/", "pip /simple/setuptools/"]


def test_libraries_are_compiled_and_one_that_does_not_start_is_a_sentence(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (packages,) = tmp_path.glob(".venv/lib/python*/site-packages")
    for name, text in {"good": "", "broken": "raise OSError('no AVX')"}.items():
        (packages / f"{name}.py").write_text(text)
    monkeypatch.setattr(program, "LIBRARIES", ("good not_installed",))
    program.compile_libraries()
    assert [path.name.partition(".")[0] for path in (packages / "__pycache__").iterdir()] == ["good"]
    monkeypatch.setattr(program, "LIBRARIES", ("good broken", "good"))
    with pytest.raises(program.SetupError, match="does not start on this machine: OSError: no AVX"):
        program.compile_libraries()


def test_a_lock_that_is_no_text_is_a_sentence(folder: Path) -> None:
    (folder / "bad.lock").write_bytes(b"\xff\xfe")
    done = install(folder, "bad.lock", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    (folder / "bad.lock").unlink()
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_python_without_venv_is_a_sentence(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    import install as program

    monkeypatch.setattr(program, "find_spec", lambda name: None)
    monkeypatch.setattr(program, "VENV", tmp_path / ".venv")
    with pytest.raises(program.SetupError, match=r"has no venv; install it \(Debian: apt-get install python3-venv\)"):
        program.make_venv("")
    assert not (tmp_path / ".venv").exists()
