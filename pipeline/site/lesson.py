"""The lesson as a page beside the networks."""

import re
from pathlib import Path

from markdown_it import MarkdownIt

SOURCE = Path("docs/learn.md")  # of the project
PAGE = "learn.html"
COMMENT = re.compile(r"<!--.*?-->\n", re.DOTALL)  # what writes the tables
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)]+)\)")  # to another file of the project
LINKS = {"demo.md": "index.html"}  # that the page has, too


def html(markdown: str, frame: str) -> str:
    """The lesson as HTML: `frame` is the page of the networks, whose content it takes the place of."""
    text = LINK.sub(lambda link: f"[{link[1]}]({LINKS[link[2]]})" if link[2] in LINKS else link[1], markdown)
    content = MarkdownIt("commonmark", {"html": False}).enable("table").render(COMMENT.sub("", text))
    head, _, rest = frame.partition("<body>")
    head = re.sub(r"<title>.*?</title>", "<title>LSTMs, from one unit to five models</title>", head)
    head = re.sub(r"<script.*?</script>\n", "", head)
    back = '<nav aria-label="Networks"><a href="index.html">Back to the networks</a></nav>'
    return (
        f'{head}<body>\n<header>{back}</header>\n<main class="lesson">\n{content}</main>{rest.partition("</main>")[2]}'
    )
