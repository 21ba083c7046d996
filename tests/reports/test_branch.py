"""The report of a branch, as `pipeline report` prints it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import Result

from pipeline import config
from pipeline.errors import PipelineError
from pipeline.formats import write_json
from pipeline.paths import MODEL_STAGES, ModelPaths
from pipeline.reports import branch as branch_report
from pipeline.reports.branch_changes import inputs, parameters, stages_that_ran
from tests.harness import project

MODEL = "bits-lstm24"


AFFECTED = [f"{verb}@{MODEL}" for verb in MODEL_STAGES]


@pytest.fixture(scope="module")
def branch(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A branch that changed a learning rate, and one more commit on main since. Tests must not change it."""
    folder = project.copy(trained, tmp_path_factory.mktemp("branch") / "project")
    first = project.run(folder, "git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    project.run(folder, "git", "branch", "bare", first)
    project.run(folder, "git", "checkout", "--quiet", "-B", "main")
    project.run(folder, "git", "checkout", "--quiet", "-b", "change")
    project.change(folder, f"models.{MODEL}.recipes.fast.learning_rate", 0.02)
    project.run_stages(folder, "check", *AFFECTED)
    project.commit(folder, "another learning rate")
    project.run(folder, "git", "checkout", "--quiet", "main")
    (folder / "later.txt").write_text("only on main\n")
    project.change(folder, "seed", 99)
    project.commit(folder, "later")
    project.run(folder, "git", "checkout", "--quiet", "change")
    return folder


def report(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.chdir(folder)
    return project.invoke("report", *words)


def test_it_names_the_parameter_and_exactly_the_stages_that_ran(
    branch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = report(branch, monkeypatch, "--base", "main", "--picture", str(tmp_path / "report.png")).stdout
    assert re.search(rf"^\| models\.{MODEL}\.recipes\.fast\.learning_rate +\| 0.01 +\| 0.02 +\|$", output, re.MULTILINE)
    assert "seed" not in output, "main went on without this branch"
    stages = {
        kind: set(re.findall(r"`([^`]+)`", line)) for kind, line in re.findall(r"^\| (ran|skipped)(.*)$", output, re.M)
    }
    assert stages == {"ran": set(AFFECTED), "skipped": project.STAGES - set(AFFECTED)}


def test_it_holds_metrics_before_and_after_the_paired_test_the_picture_and_the_verdict(
    branch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "curves.png"
    output = report(branch, monkeypatch, "--base", "main", "--picture", str(picture)).stdout
    assert re.search(rf"{MODEL}@main +\| +{MODEL}@now +\| +difference", output)
    assert re.search(r"^\| accuracy +\| +[\d.]+% +\| +[\d.]+% +\| +[+-][\d.]+ points \|$", output, re.MULTILINE)
    assert re.search(rf"^- {MODEL}@now: (of )?the same 156 examples", output, re.MULTILINE)
    assert f"![learning curves]({picture})" in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    (verdict,) = re.findall(rf"^\| {MODEL} +\| (.+?) +\| (.+?) +\|$", output.split("## Gate")[1], re.MULTILINE)
    assert verdict[0] == "**did not pass**"
    assert "below the floor" in verdict[1]
    assert "the champion (main)" in verdict[1]
    curves = output.split(f"<details><summary>Learning curves of {MODEL}</summary>")[1].split("</details>")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in curves.strip().splitlines()]
    assert rows[0] == ["step", f"{MODEL}@main, error, %", f"{MODEL}@now, error, %"]
    assert [row[0] for row in rows[2:]] == ["10", "20", "25"], "a job summary shows tables, and no file"


def test_a_model_that_does_not_pass_the_gate_can_fail_the_job(
    branch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--base", "main", "--picture", str(tmp_path / "report.png"))
    assert report(branch, monkeypatch, *words).exit_code == 0
    failed = report(branch, monkeypatch, *words, "--fail-on-gate")
    assert failed.exit_code == 1
    assert "**did not pass**" in failed.stdout


def test_results_that_differ_although_no_stage_ran_are_shown(
    trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `make repro` on another processor: the same inputs, other bytes."""
    path = ModelPaths(MODEL, trained_project).metrics
    metrics = json.loads(path.read_text())
    write_json(metrics | {"wrong": metrics["wrong"] + 1}, path)
    project.run(trained_project, "dvc", "commit", "--force", f"evaluate@{MODEL}")
    output = report(trained_project, monkeypatch, "--base", "HEAD", "--picture", str(tmp_path / "report.png")).stdout
    assert f"this machine made other results than those of HEAD: `{MODEL}`. Another processor" in output
    assert re.search(r"^\| wrong +\| +\d+ +\| +\d+ +\| +\+1 \|$", output, re.MULTILINE)


def test_a_new_model_has_its_metrics_and_only_the_parameters_of_its_recipe(
    trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = project.read(trained_project)
    params["models"]["bits-new"] = params["models"][MODEL] | {"network": {"units": [4]}}
    project.write(trained_project, params)
    project.run_stages(trained_project, "check", *(f"{verb}@bits-new" for verb in MODEL_STAGES))
    output = report(trained_project, monkeypatch, "--base", "HEAD", "--picture", str(tmp_path / "report.png")).stdout
    table = output.split("### bits-new, which HEAD does not have")[1]
    assert re.search(r"^\| accuracy +\| +[\d.]+% \|$", table, re.MULTILINE)
    assert "models.bits-new.recipes.fast.learning_rate" in output
    assert "recipes.published" not in output


def test_a_branch_that_changes_nothing_says_so(branch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "report.png"
    output = report(branch, monkeypatch, "--base", "change", "--picture", str(picture)).stdout
    assert output == "# What differs from change\n\nNo stage ran: nothing that a stage depends on has changed.\n"
    assert not picture.exists()


def test_before_dvc_repro_it_says_what_to_do(trained_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.change(trained_project, f"models.{MODEL}.recipes.fast.learning_rate", 0.03)
    done = report(trained_project, monkeypatch, "--base", "HEAD")
    assert done.exit_code == 2
    assert (
        done.stderr
        == f"error: the workspace is not up to date (export@{MODEL}, train@{MODEL}): run `dvc repro` first.\n"
    )


@pytest.mark.parametrize(("base", "says"), [("nowhere", "git fetch origin nowhere"), ("bare", "holds no dvc.lock")])
def test_a_base_that_cannot_be_compared_with_gets_a_sentence(
    branch: Path, monkeypatch: pytest.MonkeyPatch, base: str, says: str
) -> None:
    monkeypatch.chdir(branch)
    with pytest.raises(PipelineError, match=says):
        branch_report.make(base, config.load())


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
        (chain("other", "m", "l"), {"first"}),  # its output is the same: the stage that reads it did not run
        (chain("s", "other", "other"), set()),  # made on another processor
        (chain("s", "m", "l", cmd="otherwise"), {"first"}),
    ],
)
def test_a_stage_ran_if_its_own_inputs_differ_or_a_stage_that_ran_wrote_other_ones(
    now: dict[str, object], ran: set[str]
) -> None:
    assert stages_that_ran(chain("s", "m", "l"), now) == ran


def test_inputs_are_what_stages_read_and_no_stage_writes() -> None:
    before, now = chain("source before", "m", "l"), chain("source now", "other", "other")
    assert inputs(before, now) == [["source", "source ", "source "]]
    assert inputs({}, now) == [["code", "-", "c"], ["source", "-", "source "]]
    assert inputs(now, now) == []


def test_parameters_that_differ_have_both_values() -> None:
    before = {"seed": 1, "a.gone": None, "a.same": 2}
    assert parameters(before, {"seed": 3, "a.same": 2, "a.new": 0.5}) == [
        ["seed", 1, 3],
        ["a.gone", None, "-"],
        ["a.new", "-", 0.5],
    ]
