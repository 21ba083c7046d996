"""The page that `dvc plots` fills, with Vega's JavaScript in it: it draws without a network.

`python -m pipeline.reports.plots_page FILE.html` writes it; `dvc config plots.html_template` names it. DVC's own page
loads Vega from another host.
"""

import sys
from pathlib import Path

from pipeline.files import write_atomic

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>Plots</title>
<script>
%s
</script>
<style>
body { font-family: sans-serif; }
body > div { display: inline-block; margin: 12px; vertical-align: top; }
</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def write(path: Path) -> None:
    """Write the page."""
    import vl_convert

    page = PAGE.replace("%s", vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    write_atomic(path, lambda draft: draft.write_text(page, encoding="utf-8"))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
