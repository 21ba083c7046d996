"""What a branch changes, as `pipeline report` tells it."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline import config, report
from pipeline.errors import BadInput
from tests import tiny

MODEL = "bits-lstm24"
STAGES = {"generate@bits", "split@bits", f"train@{MODEL}", f"export@{MODEL}", f"evaluate@{MODEL}"}


@pytest.fixture(scope="module")
def branch(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A branch that changed a learning rate, and one commit more on main since."""
    folder = tmp_path_factory.mktemp("branch") / "copy"
    shutil.copytree(made, folder, symlinks=True)
    (folder / "mlflow.db").unlink()  # it would write into the folder that it was made in
    tiny.run(folder, "git", "checkout", "--quiet", "-B", "main")
    tiny.run(folder, "git", "checkout", "--quiet", "-b", "change")
    params = tiny.read(folder)
    for task in ("mnist", "fable"):  # a task without a model: its stages would never have run
        del params["tasks"][task]
    tiny.write(folder, params)
    tiny.commit(folder, "one task")
    tiny.run(folder, "git", "branch", "-f", "main")
    tiny.change(folder, f"models.{MODEL}.fast.rate", 0.02)
    tiny.run(folder, "dvc", "repro")
    tiny.commit(folder, "another rate")
    tiny.run(folder, "git", "checkout", "--quiet", "main")
    (folder / "later.txt").write_text("of main alone\n")
    tiny.change(folder, "seed", 99)
    tiny.commit(folder, "later")
    tiny.run(folder, "git", "checkout", "--quiet", "change")
    return folder


def test_it_names_the_parameter_and_exactly_the_stages_that_ran(branch: Path) -> None:
    told = tiny.run(branch, "pipeline", "report", "--base", "main").stdout
    assert re.search(rf"^\| models\.{MODEL}\.fast\.rate +\| 0.01 +\| 0.02 +\|$", told, re.MULTILINE)
    assert "seed" not in told, "main went on without this branch"
    stages = {
        kind: set(re.findall(r"`([^`]+)`", line)) for kind, line in re.findall(r"^\| (ran|skipped)(.*)$", told, re.M)
    }
    ran = {stage for stage in STAGES if stage.endswith(MODEL)}
    assert stages == {"ran": ran, "skipped": STAGES - ran}


def test_it_holds_figures_before_and_after_the_paired_test_the_picture_and_the_verdict(branch: Path) -> None:
    told = tiny.run(branch, "pipeline", "report", "--base", "main", "--picture", "curves.png").stdout
    assert re.search(rf"{MODEL}@main +\| +{MODEL}@now +\| +difference", told)
    assert re.search(r"^\| accuracy +\| +[\d.]+% +\| +[\d.]+% +\| +[+-][\d.]+ points \|$", told, re.MULTILINE)
    assert re.search(rf"^- {MODEL}@now: (of )?the same 156 examples", told, re.MULTILINE)
    assert "![learning curves](curves.png)" in told
    assert (branch / "curves.png").read_bytes().startswith(b"\x89PNG")
    (verdict,) = re.findall(rf"^\| {MODEL} +\| (.+?) +\| (.+?) +\|$", told.split("## Gate")[1], re.MULTILINE)
    assert verdict[0] == "**did not pass**"
    assert "below the floor" in verdict[1]
    assert "the champion (main)" in verdict[1]


def test_a_branch_that_changes_nothing_says_so(branch: Path) -> None:
    told = tiny.run(branch, "pipeline", "report", "--base", "change").stdout
    assert told == "# What differs from change\n\nNothing that a stage depends on: no stage ran.\n"


def test_before_dvc_repro_it_says_what_to_do(branch: Path) -> None:
    tiny.change(branch, f"models.{MODEL}.fast.rate", 0.03)
    done = tiny.run(branch, "pipeline", "report", "--base", "main", ok=False)
    tiny.run(branch, "git", "checkout", "params.yaml")
    assert done.returncode == 2
    assert done.stderr == f"error: the workspace is not up to date (train@{MODEL}): run `dvc repro` first.\n"


@pytest.mark.parametrize(("base", "says"), [("nowhere", "git fetch origin nowhere"), ("bare", "holds no dvc.lock")])
def test_a_base_that_cannot_be_compared_with_gets_a_sentence(
    branch: Path, monkeypatch: pytest.MonkeyPatch, base: str, says: str
) -> None:
    monkeypatch.chdir(branch)
    first = tiny.run(branch, "git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    tiny.run(branch, "git", "branch", "-f", "bare", first)
    with pytest.raises(BadInput, match=says):
        report.make(base, config.load())


def stage(cmd: str, deps: dict[str, str], outs: dict[str, str]) -> dict[str, object]:
    def entries(files: dict[str, str]) -> list[dict[str, str]]:
        return [{"path": path, "md5": md5} for path, md5 in files.items()]

    return {"cmd": cmd, "deps": entries(deps), "outs": entries(outs)}


def chain(source: str, made: str, last: str, cmd: str = "first") -> dict[str, object]:
    return {
        "last": stage("last", {"made": made, "code": "c"}, {"end": last}),
        "first": stage(cmd, {"source": source}, {"made": made}),
    }


@pytest.mark.parametrize(
    ("now", "ran"),
    [
        (chain("s", "m", "l"), set()),
        (chain("other", "other", "l"), {"first", "last"}),
        (chain("other", "m", "l"), {"first"}),  # what it made is the same: nothing behind it ran
        (chain("s", "other", "other"), set()),  # made on another processor
        (chain("s", "m", "l", cmd="otherwise"), {"first"}),
    ],
)
def test_a_stage_ran_if_its_own_inputs_differ_or_a_stage_that_ran_made_it_others(
    now: dict[str, object], ran: set[str]
) -> None:
    assert report._ran(chain("s", "m", "l"), now) == ran
