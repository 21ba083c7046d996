"""Figures as PNG files."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, the same bytes each time. Characters that no font of matplotlib's has become boxes."""

    def save(draft: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            # By default, matplotlib writes its version into the file.
            figure.savefig(draft, format="png", dpi=110, metadata={"Software": None})

    write_atomic(path, save)
