"""How `pytest exercises` prints: a sentence for each file that is not solved yet, and how many are."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Leave out what is no sentence: tracebacks, the output of libraries, a second list of what failed."""
    config.option.tbstyle, config.option.reportchars, config.option.verbose = "no", "", -2


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sentences, in the order of the exercises."""
    marks = {state: terminalreporter.stats.get(state, []) for state in ("passed", "failed", "error")}
    for report in sorted((*marks["failed"], *marks["error"]), key=lambda report: report.nodeid):
        sentence, file = report.longreprtext.strip(), f"exercises/{report.nodeid.rpartition('_')[2]}.py"
        terminalreporter.write_line(sentence if sentence.startswith(file) else f"{file}: {sentence}")
    terminalreporter.write_line(f"{len(marks['passed'])} of {sum(map(len, marks.values()))} solved")
