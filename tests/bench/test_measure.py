"""What `make bench` computes from its measurements."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import handwriting, report
from bench.measure import ROOT, interleaved, ratio, run


def test_measures_take_turns() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    values = interleaved({"a": lambda: measure("a"), "b": lambda: measure("b")}, 3)
    assert order == ["a", "b"] * 3
    assert values == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert ratio(values["b"], values["a"]) == {"median": 4 / 3, "lowest": 6 / 5, "highest": 2}


def test_memory_and_output_of_a_command_are_measured() -> None:
    small, large = (run([sys.executable, "-c", f"x = b'1' * {n}; print(len(x))"]) for n in (1, 200_000_000))
    assert large.output == "200000000\n"
    assert 150 < large.mib - small.mib < 250


def test_a_picture_comes_from_its_seed_alone() -> None:
    for kind in handwriting.KINDS.values():
        first, again, other = (kind("3", seed, 2) for seed in (5, 5, 6))
        np.testing.assert_array_equal(first.pixels, again.pixels)
        assert first.pixels.shape != other.pixels.shape or (first.pixels != other.pixels).any()


def test_the_report_shows_ratios_with_their_spread(tmp_path: Path) -> None:
    spread = {"median": 1.5, "lowest": 1.25, "highest": 2.0}
    ms = {"ours": [10.0, 12.0], "keras": [15.0, 24.0]}
    steps = [{"model": "m", "batch_size": 32, "ms": ms, "ratio": {"keras": spread}}]
    report.write({"machine": "a machine", "steps": steps, "gpu": "skipped: none"}, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "1.50 (1.25 to 2.00)" in text
    assert "11.0" in text
    assert "Skipped: none." in text
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_says_by_which_power_a_cost_grows(tmp_path: Path) -> None:
    costs = [{"track": {"seconds": seconds, "mib": 200.0}} for seconds in (2.0, 2.5, 8.0)]
    for each in costs[1:]:  # one model has none to compare with
        each["compare"] = {"seconds": 3.0, "mib": 300.0}
    rows = [{"size": size, "costs": each} for size, each in zip((1, 10, 16), costs, strict=True)]
    assert report.growth(rows, "track", "seconds") == pytest.approx(np.log(3.2) / np.log(1.6))
    report.write({"machine": "a machine", "scale": {"models": rows}}, tmp_path)
    lines = [" ".join(line.split()) for line in (tmp_path / "README.md").read_text().splitlines()]
    assert "| track, 1 to 16 models | 2.0 to 8.0 | 2.47 | 200 to 200 |" in lines
    assert "| compare, 10 to 16 models | 3.0 to 3.0 | 0.00 | 300 to 300 |" in lines
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero exit status 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"])


def test_an_unknown_part_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'nothing' is no part; choose some of steps, ")
    assert done.stderr.count("\n") == 1
