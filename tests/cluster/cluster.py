"""A Ray cluster of hosts: the first machine, on which commands are given, and two that work."""

import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.hosts import ADDRESSES, Host, Hosts
from tests.harness.process import until

ADDRESS = f"{ADDRESSES['driver']}:6379"
KEYS, NODE = "root/.lstm-cluster", "/root/.lstm-cluster/node.py"
WORKERS = ("first", "second")
# What the hosts may spend on one command, in seconds.
LIMIT = 400


@dataclass
class Cluster:
    """The hosts, and the folder below which their files are."""

    hosts: Hosts
    folder: Path
    prepared: Path  # a project

    @property
    def driver(self) -> Host:
        """The machine on which commands are given."""
        return self.hosts["driver"]

    def start(self) -> None:
        """Make keys, copy them, and start a node on each machine; each worker has one CPU and a small disk."""
        project = self.project()
        self.run(project, "pipeline", "keys", *(ADDRESSES[name] for name in ("driver", *WORKERS)))
        self.driver.start("python", NODE, "--head", "--num-cpus", "0", log=self.log("driver"))
        assert until(lambda: self.ask("pass").returncode == 0, 90), self.log("driver").read_text()
        for name in WORKERS:
            shutil.copytree(self.folder / "driver" / KEYS, self.folder / name / KEYS)
            self.hosts[name].run("mount", "-t", "tmpfs", "-o", "mode=1777,size=1g", "tmpfs", "/tmp")  # noqa: S108
            self.join(name)
        self.wait_for_workers()

    def join(self, name: str) -> None:
        """Start the node of a worker."""
        self.hosts[name].start("python", NODE, ADDRESS, "--num-cpus", "1", log=self.log(name))

    def wait_for_workers(self) -> None:
        """Wait until both workers are there."""
        count = "print(sum(node['Alive'] for node in ray.nodes()))"
        assert until(lambda: self.ask(count).stdout.strip() == "3", 180), [self.log(n).read_text() for n in WORKERS]

    def ask(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python code on the driver, connected to Ray."""
        connect = (
            "import os, sys; sys.path.insert(0, '/root/.lstm-cluster'); import node, pathlib\n"
            "os.environ.update(node.variables(pathlib.Path('/root/.lstm-cluster')))\n"
            f"node.require_safe('{ADDRESS}')\n"
            f"import ray; ray.init('{ADDRESS}', log_to_driver=False, logging_level='error')\n"
        )
        return self.driver.run("python", "-c", connect + code, ok=False)

    def log(self, name: str) -> Path:
        """What the node of a machine printed."""
        return self.folder / f"{name}.log"

    def project(self) -> Path:
        """A new copy of the prepared project on the driver, as this machine sees it."""
        srv = self.folder / "driver" / "srv"
        folder = srv / f"project{len(list(srv.iterdir())) if srv.exists() else 0}"
        shutil.copytree(self.prepared, folder, symlinks=True)
        return folder

    def run(
        self, project: Path, module: str, *words: str, ok: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m MODULE` in a project on the driver."""
        command = ("python", "-m", module, *words)
        return self.driver.run(*command, cwd=f"/srv/{project.name}", ok=ok, seconds=LIMIT, **environment)

    def begin(self, project: Path, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start `pipeline WORDS` in a project on the driver; what it prints goes to the file `log` beside it."""
        command = ("python", "-m", "pipeline", *words)
        return self.driver.start(*command, cwd=f"/srv/{project.name}", log=self.said(project), **environment)

    def said(self, project: Path) -> Path:
        """The file of what `begin` prints."""
        return self.folder / f"{project.name}.log"

    def find(self, names: tuple[str, ...], text: str) -> list[psutil.Process]:
        """The processes of hosts whose command has this text."""
        found = []
        for name in names:
            for each in self.hosts[name].processes():
                with suppress(psutil.Error):
                    if text in " ".join(each.cmdline()):
                        found.append(each)
        return found
