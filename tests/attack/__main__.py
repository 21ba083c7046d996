"""`python -m tests.attack`: the campaign on a tiny project that it trains first; exit status 1 if a case fails."""

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate
from tqdm import tqdm

from tests.attack.campaign import AREAS, Outcome, campaign
from tests.harness import project


def main(
    cases: Annotated[int | None, typer.Option(min=1, help="how many; by default, those of ten minutes")] = None,
    seed: Annotated[int, typer.Option(help="of the cases")] = 0,
    area: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(AREAS)}; all by default")] = None,
) -> None:
    """Attack the project's commands, and print each failure and a table of the cases."""
    os.environ |= {"MLFLOW_TRACKING_URI": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        folder = project.make(Path(name) / "project")
        project.run_stages(folder, "check", *project.IN_ORDER)
        project.commit(folder, "trained")
        os.chdir(folder)
        drawn = campaign(cases or sys.maxsize, seed, float("inf") if cases else 600, area or ())
        for outcome in tqdm(drawn, unit="case", disable=None):
            outcomes.append(outcome)
            if outcome.problem:
                tqdm.write(f"{outcome.area}: {outcome.case}: {outcome.problem}")
        os.chdir("/")
    counts, failed = Counter(each.area for each in outcomes), Counter(each.area for each in outcomes if each.problem)
    rows = [[area, counts[area], failed[area]] for area in AREAS]
    print(tabulate([*rows, ["all", counts.total(), failed.total()]], ["area", "cases", "failed"]))
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
