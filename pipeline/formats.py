"""JSON and CSV as the outputs of stages have them: the same bytes each time."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd


def write_json(content: Any, path: Path) -> None:
    """Write JSON, indented, with a newline at the end."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, floats with nine significant digits."""
    write_atomic(path, lambda draft: table.to_csv(draft, index=False, float_format="%.9g", lineterminator="\n"))
