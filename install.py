"""Set up .venv from a lock file: `python3 install.py requirements.lock`. `make` runs this; it needs no make itself.

The lock is installed as it stands: each package by its hash, and no requirement resolved anew, so that no later release
changes or breaks a set-up. uv installs it, the one on PATH or that of requirements-uv.lock; where uv has no wheel, pip
does the same, more slowly. Standard library only, and written so that Python 3.6 can read it and say what is wrong.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)  # Python; pyproject.toml says the same
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / ".unfinished"  # there while a set-up goes on, and after one that was killed
UV_LOCK = ROOT / "requirements-uv.lock"
# Settings of pip that put uv elsewhere, or nowhere.
ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_DRY_RUN")
CERTIFICATES = "SSL_CERT_FILE"
LIBRARIES = (  # the modules that stages and commands import, for two processes that take about as long
    "keras sklearn matplotlib.figure scipy.stats onnx onnxruntime PIL.Image",
    "mlflow.pyfunc mlflow.store.tracking.sqlalchemy_store mlflow.store.model_registry.sqlalchemy_store pyarrow.parquet "
    "dvc.cli dvc.commands.repro dvc.repo.experiments dvc.repo.reproduce detect_secrets.core.scan typer ray.tune",
)
STARTED = time.monotonic()


class SetupError(Exception):
    """Why there is no environment, and what to do: a sentence."""


def main(lock: Path) -> None:
    """Make .venv if there is none, install the packages of `lock` and the project, and check that nothing is missing.

    .venv/.from-LOCK holds the path of the project, and is written last: make starts an interrupted set-up again. .venv
    is made anew then, and in a project that was moved. Raises SetupError.
    """
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise SetupError(
            "this is Python {}.{}, expected 3.11 to 3.13; run this file with one of these (with make: "
            "make PYTHON=/path/to/python3.12).".format(*sys.version_info[:2])
        )
    if not lock.is_file():
        locks = ", ".join(sorted(path.name for path in ROOT.glob("*.lock")))
        raise SetupError(f"{lock} is not a file; name a lock file: {locks}.")
    for name in ELSEWHERE:
        os.environ.pop(name, None)
    uv = on_path("uv")
    if not venv_works():
        make_venv(uv)
    UNFINISHED.touch()
    os.environ.update(settings_for_uv(), PIP_DISABLE_PIP_VERSION_CHECK="1")
    uv = uv or install_uv()
    packages = len(re.findall(r"^\S+==", lock.read_text(encoding="utf-8"), re.MULTILINE))
    say(f"installing {packages} packages of {lock.name} with {'uv' if uv else 'pip'}")
    install(uv, "--require-hashes", "-r", pinned(lock, "setuptools"))  # builds the packages that have no wheel
    install(uv, "--require-hashes", "--no-build-isolation", "-r", str(lock))
    say("installing the project")
    install(uv, "--no-build-isolation", "-e", str(ROOT))
    checked = run([uv, "pip", "check", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "check"])
    if checked.returncode:
        raise SetupError(f"{lock.name} does not have all that its packages need; run `make lock`.\n{printed(checked)}")
    say("compiling the libraries")
    compile_libraries()
    say("preparing the page of `dvc plots`")
    for command in (
        [str(PYTHON), "-m", "pipeline.reports.plots_page", str(VENV / "plots.html")],
        [str(VENV / "bin" / "dvc"), "config", "--local", "plots.html_template", "../.venv/plots.html"],
    ):
        done = run(command)
        if done.returncode:
            raise SetupError(f"`{' '.join(map(shlex.quote, command))}` failed.\n{printed(done)}")
    (VENV / f".from-{lock.name}").write_text(f"{ROOT}\n", encoding="utf-8")
    UNFINISHED.unlink()
    say("ready: source .venv/bin/activate")


def on_path(program: str) -> str:
    """The path of a program that runs, outside of .venv; "" if there is none."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != str(PYTHON.parent)]
    path = shutil.which(program, path=os.pathsep.join(folders)) or ""
    return path if path and run([path, "--version"]).returncode == 0 else ""


def venv_works() -> bool:
    """Whether .venv has a Python of a version that serves, with pip, and was neither left unfinished nor moved."""
    moved = [stamp for stamp in VENV.glob(".from-*") if stamp.read_text(encoding="utf-8") != f"{ROOT}\n"]
    if UNFINISHED.exists() or moved or not PYTHON.exists():
        return False
    supported = f"import pip, sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    return run([str(PYTHON), "-c", supported]).returncode == 0


def make_venv(uv: str) -> None:
    """Make .venv, with pip in it, of the Python that runs this. Raises SetupError."""
    say("making .venv with Python {}.{}.{}".format(*sys.version_info[:3]))
    has_venv = find_spec("venv") and find_spec("ensurepip")
    if not has_venv and not uv:
        raise SetupError(
            f"{sys.executable} has no venv; install it (Debian: apt-get install python3-venv), or install uv "
            "(pipx install uv), or use another Python."
        )
    python = os.path.realpath(sys.executable)  # not the link of .venv, which goes
    folder = VENV.resolve()  # which may be on another disk
    if folder.is_dir():
        shutil.rmtree(str(folder))
    folder.mkdir()
    UNFINISHED.touch()
    with_uv = [uv, "venv", "--quiet", "--allow-existing", "--seed", "--python", python, str(VENV)]
    made = run([python, "-m", "venv", str(VENV)] if has_venv else with_uv)
    if made.returncode:
        raise SetupError(f"{VENV} could not be made; free some space, or fix its permissions.\n{printed(made)}")


def settings_for_uv() -> "dict[str, str]":
    """The settings of pip (variables and files) that uv needs as its own variables; an index of uv for pip, too.

    What is set already stays. An address may hold a password, so none becomes an argument.
    """
    pip = {}
    for line in run([str(PYTHON), "-m", "pip", "config", "list"]).stdout.splitlines():  # the strongest comes last
        setting = re.match(r"[\w:.-]+\.([\w-]+)=('.*'|\".*\")$", line)  # with `verbose`, there are other lines
        if setting:
            pip[setting[1]] = str(ast.literal_eval(setting[2]))
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    found = {
        "UV_DEFAULT_INDEX": "" if index else pip.get("index-url", ""),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").split()),
        CERTIFICATES: pip.get("cert", ""),
        "UV_SYSTEM_CERTS": "true",  # a proxy's own certificate is there
        "UV_CACHE_DIR": "" if can_be_made(caches / "uv") else str(VENV / ".cache"),
        "PIP_INDEX_URL": index or "",
    }
    return {name: value for name, value in found.items() if value and name not in os.environ}


def can_be_made(folder: Path) -> bool:
    """Whether this user may make a folder, or write into it, where it is there."""
    while not os.access(str(folder), os.F_OK):  # which sees no folder that is closed to this user
        folder = folder.parent
    return folder.is_dir() and os.access(str(folder), os.W_OK)


def install_uv() -> str:
    """Let pip install the uv of requirements-uv.lock. Its path; "" if there is no wheel for this machine.

    Raises SetupError without a connection, and if the wheel is not the one of the lock.
    """
    path, version = VENV / "bin" / "uv", UV_LOCK.read_text(encoding="utf-8").split()[0].replace("==", " ")
    if path.exists() and run([str(path), "--version"]).stdout.startswith(version + " "):
        return str(path)
    say(f"installing {version}")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--retries", "2"]
    done = run([str(PYTHON), "-m", "pip", "install", *options, "-r", str(UV_LOCK)])
    if done.returncode == 0 and path.exists():
        return str(path)
    if "CERTIFICATE_VERIFY_FAILED" in printed(done):
        raise SetupError(
            "pip does not know the certificate of its package index, as behind a proxy that has its own; name the file "
            "with the proxy's certificate in PIP_CERT."
        )
    if "Retrying" in printed(done):  # pip's word for an index that does not answer
        raise SetupError(
            "pip gets no answer from its package index; connect to the network, or name a mirror in PIP_INDEX_URL. "
            "Without a network, install uv: it takes the packages from its cache, if they were installed here before."
        )
    if "HASHES" in printed(done):
        raise SetupError(f"the package index has another {version} than {UV_LOCK.name}; use another index.")
    say(f"the package index has no wheel of {version} for this machine; pip takes its place, which takes minutes")
    return ""


def install(uv: str, *arguments: str) -> None:
    """Install with uv, or with pip if there is none, and resolve nothing. Raises SetupError."""
    if uv:
        command = [uv, "pip", "install", "--python", str(PYTHON), "--no-deps", *arguments]
        if os.environ.get("PIP_NO_INDEX"):
            command.append("--no-index")
        if run([*command, "--offline"]).returncode == 0:  # all of it is in uv's cache
            return
        if not sys.stderr.isatty():  # which shows no progress
            command.append("--quiet")
    else:
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-deps", *arguments]
    if subprocess.run(command, cwd=str(ROOT), check=False).returncode:
        raise SetupError(
            f"{'uv' if uv else 'pip'} could not install this; the lines above say why. If it was the connection, "
            "name a mirror in PIP_INDEX_URL, or a folder of wheels in PIP_FIND_LINKS with PIP_NO_INDEX=1."
        )


def compile_libraries() -> None:
    """Start each library once, which compiles its modules, as pip does and uv does not. Raises SetupError.

    Without it the first start of each takes seconds more; where PYTHONDONTWRITEBYTECODE is set, as in many images of
    containers, every start.
    """
    code = "import sys\nfrom importlib import import_module, util\n"
    code += "[import_module(name) for name in sys.argv[1:] if util.find_spec(name.partition('.')[0])]"
    environment = dict(
        os.environ, PYTHONDONTWRITEBYTECODE="", TF_CPP_MIN_LOG_LEVEL="3", MLFLOW_DISABLE_TELEMETRY="true"
    )
    started = [
        subprocess.Popen(
            [str(PYTHON), "-c", code, *names.split()],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for names in LIBRARIES
    ]
    for stderr, each in [(each.communicate()[1], each) for each in started]:
        if each.returncode:
            lines = stderr.decode("utf-8", "replace").strip().splitlines()
            raise SetupError(f"a library does not start on this machine: {lines[-1] if lines else each.returncode}")


def pinned(lock: Path, package: str) -> str:
    """The path of a lock of one package of `lock`, in .venv."""
    entry = re.search(rf"^{package}==(?:.*\\\n)*.*\n", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if not entry:
        raise SetupError(f"{lock} does not have {package}; run `make lock`.")
    path = VENV / f"{package}.lock"
    path.write_text(entry[0], encoding="utf-8")
    return str(path)


def run(command: "list[str]") -> "subprocess.CompletedProcess[str]":
    """Run a command in the root of the project, and keep what it prints. One that cannot run has status 127."""
    try:
        done = subprocess.run(command, cwd=str(ROOT), check=False, capture_output=True)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")
    stdout, stderr = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(command, done.returncode, stdout, stderr)


def printed(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command printed."""
    return (done.stdout + done.stderr).strip()


def say(doing: str) -> None:
    """Print what is being done, after the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:3.0f} s] {doing}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 install.py requirements.lock")
    try:
        main(Path(sys.argv[1]).resolve())
    except (SetupError, OSError, UnicodeDecodeError) as error:
        problem = str(error)
        if isinstance(error, OSError):
            problem = f"{error.filename}: {error.strerror}; free some space, or fix its permissions."
        elif isinstance(error, UnicodeDecodeError):
            problem = f"{sys.argv[1]} is not text in UTF-8; restore it with git checkout."
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
