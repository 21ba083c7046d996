"""Areas of the campaign: what must not be shown, and whom not to believe."""

import json
import os
import random
import string
import subprocess
import sys
from pathlib import Path

from tests.attack.harness import kept, problem, run
from tests.attack.mutations import damaged
from tests.harness import project

BITS, *_ = project.MODELS


def secrets(rng: random.Random) -> tuple[str, str]:
    """A password, in an address or in a file that git ignores: nowhere in what is printed or recorded."""
    secret = "".join(rng.choices(string.ascii_letters + string.digits, k=12)) + rng.choice(
        ["", "/", "@", " ", "?", "#"]
    )
    if rng.random() < 0.5:
        scheme = rng.choice(["http", "https", "postgresql", "mysql+pymysql", "databricks", "ftp", "sqlite"])
        address = rng.choice(
            [
                f"{scheme}://u:{secret}@127.0.0.1:9/x",
                f"{scheme}://127.0.0.1:9/x?token={secret}",
                f"databricks://{secret}",
            ]
        )
        command = rng.choice([("compare",), ("results",), ("track",), ("promote", BITS)])
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *command],
            env=os.environ | {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        shown = secret[:12] in done.stdout + done.stderr
        wrong = problem(done.returncode, done.stdout, done.stderr, 0)
        return f"{' '.join(command)} with {scheme} and a password", "it is shown" if shown else wrong
    settings = Path("pipeline/local_settings.py")
    exclude = Path(".git/info/exclude")
    before = exclude.read_text()
    with kept(Path("models"), Path("logs"), Path("mlflow.db"), Path("mlartifacts")):
        exclude.write_text(f"{before}\n{settings}\n")
        settings.write_text(f"PASSWORD = {secret!r}\n")
        _, wrong = run("evaluate", BITS)
        settings.unlink()
        exclude.write_text(before)
        places = [Path("mlflow.db"), *(path for path in (*Path("logs").rglob("*"), *Path("mlartifacts").rglob("*")))]
        if any(secret[:12].encode() in path.read_bytes() for path in places if path.is_file()):
            wrong = "it is recorded"
    return "evaluate with a password in a file that git ignores", wrong


def trust(rng: random.Random) -> tuple[str, str]:
    """A run of somebody else with changes of files that are no sources: `pipeline reproduce` refuses it."""
    run("track")
    victim = rng.choice(["../victim", ".git/hooks/post-checkout", "Makefile", "data/raw/x", "tests/x.py"])
    change = f"--- /dev/null\n+++ b/{victim}\n@@ -0,0 +1 @@\n+x\n"
    patch = f"diff --git a/{victim} b/{victim}\nnew file mode 100755\n{change}".encode()
    sent = patch if (intact := rng.random() < 0.7) else damaged(patch, rng)
    files = sorted(path for path in Path("mlartifacts").rglob("provenance.json"))
    path = rng.choice(files)
    content = json.loads(path.read_text()) | {"uncommitted": True, "patch": sent.decode("latin-1")}
    run_id = path.parent.parent.name
    with kept(Path("mlartifacts")):
        path.write_text(json.dumps(content))
        result, wrong = run("reproduce", run_id, *rng.choice([[], ["--yes"]]))
    if intact and result.exit_code != 2:
        wrong = f"exit status {result.exit_code}: {result.output[:200]!r}"
    if Path("../victim").exists() or Path(".git/hooks/post-checkout").exists():
        wrong = "a file outside of the sources was written"
    return f"reproduce a run that writes {victim}", wrong
