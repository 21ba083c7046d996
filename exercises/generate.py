"""Write the exercises from their solutions: what stands between `# gap: HINT` and `# end` becomes an error.

`python -m exercises.generate`
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parent
GAP = re.compile(r"^( *)# gap: ([^\n]+(?:\n *# [^\n]+)*)\n.*?^ *# end\n", re.MULTILINE | re.DOTALL)


def exercises() -> dict[Path, str]:
    """The text of each file with gaps."""
    solutions = sorted((FOLDER / "solutions").glob("[a-z]*.py"))
    return {FOLDER / path.name: _with_gaps(path.read_text(encoding="utf-8")) for path in solutions}


def _with_gaps(solution: str) -> str:
    return GAP.sub(r"\1# Fill the gap: \2.\n\1raise NotImplementedError\n", solution)


if __name__ == "__main__":
    for path, text in exercises().items():
        path.write_text(text, encoding="utf-8")
        print(path)
