"""Change one parameter after another in a tiny copy of the project: DVC must re-run what it touches, no more.

Then as on a pull request: one model's parameter is changed on a branch, and the report must name its stages alone.
"""

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests import tiny

ALL = {f"{stage}@{task}" for task in ("bits", "mnist", "fable") for stage in ("generate", "split")} | {
    f"{stage}@{model}" for model in tiny.MODELS for stage in ("train", "export", "evaluate")
}
MODEL = {stage: {f"{stage}@fable-lstm512"} for stage in ("train", "export", "evaluate")}
CHANGES = {  # a parameter by its dotted name: its new value, the stages that it touches
    "models.fable-lstm512.fast.rate": (0.02, set().union(*MODEL.values())),
    "models.fable-lstm512.published.rate": (0.02, set()),
    "models.fable-lstm512.figure.accuracy": (0.5, set()),
    "tasks.fable.split.context": (4, {"split@fable"}.union(*MODEL.values())),
    "tasks.bits.split.train": (90, {"split@bits"} | {stage for stage in ALL if stage.endswith("@bits-lstm24")}),
    "recipe": ("published", {stage for stage in ALL if "-lstm" in stage}),
}


def main() -> None:
    """Run the flow once, then once a change."""
    with tempfile.TemporaryDirectory() as name:
        folder = tiny.make(Path(name))
        ran = tiny.ran(tiny.run(folder, "dvc", "repro").stdout)
        check("nothing made yet", ran, ALL)
        check("nothing changed", tiny.ran(tiny.run(folder, "dvc", "repro").stdout), set())
        for key, (value, touched) in CHANGES.items():
            tiny.change(folder, key, value)
            check(f"{key}: {value}", tiny.ran(tiny.run(folder, "dvc", "repro").stdout), touched)
        pull_request(folder)


def pull_request(folder: Path) -> None:
    """Change a parameter on a branch, run what it touches, and read the report."""
    tiny.commit(folder, "made")
    tiny.run(folder, "git", "branch", "base")
    tiny.run(folder, "git", "checkout", "--quiet", "-b", "change")
    tiny.change(folder, "models.bits-lstm24.published.rate", 0.02)
    touched = {stage for stage in ALL if stage.endswith("@bits-lstm24")}
    check("on a branch", tiny.ran(tiny.run(folder, "dvc", "repro").stdout), touched)
    report = tiny.run(folder, "pipeline", "report", "--base", "base").stdout
    print(report, flush=True)
    said = {
        kind: set(re.findall(r"`([^`]+)`", line)) for kind, line in re.findall(r"^\| (ran|skipped)(.*)$", report, re.M)
    }
    check("the report's stages that ran", said["ran"], touched)
    check("the report's stages that were skipped", said["skipped"], ALL - touched)
    if not (folder / "report.png").is_file():
        sys.exit("error: there is no picture of the learning curves")


def check(change: str, ran: set[str], expected: set[str]) -> None:
    """Say what ran; end with status 1 if it is not what should have."""
    print(f"{change}: ran {', '.join(sorted(ran)) or 'nothing'}", flush=True)
    if ran != expected:
        sys.exit(f"error: expected {', '.join(sorted(expected)) or 'nothing'}")


if __name__ == "__main__":
    main()
