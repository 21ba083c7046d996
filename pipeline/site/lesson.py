"""The lesson as a page beside the networks."""

import re
from pathlib import Path

from markdown_it import MarkdownIt

SOURCE = Path("docs/learn.md")  # of the project
PAGE = "learn.html"
COMMENT = re.compile(r"<!--.*?-->\n", re.DOTALL)  # what writes the tables
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)]+)\)")  # to another file of the project
LINKS = {"demo.md": "index.html"}  # that the page has, too
ALIGNED = re.compile(r' style="text-align:\w+"')  # which the page's content policy forbids


def html(markdown: str, frame: str) -> str:
    """The lesson as HTML: `frame` is the page of the networks, whose content it takes the place of."""

    def linked(link: re.Match[str]) -> str:
        file, _, state = link[2].partition("#")
        return f"[{link[1]}]({LINKS[file]}{state and f'#{state}'})" if file in LINKS else link[1]

    text = LINK.sub(linked, COMMENT.sub("", markdown))
    content = ALIGNED.sub("", MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
    head, _, rest = frame.partition("<body>")
    head = re.sub(r"<title>.*?</title>", "<title>LSTMs, from one unit to five models</title>", head)
    head = re.sub(r"<script.*?</script>\n", "", head)
    back = '<nav aria-label="Networks"><a href="index.html">Back to the networks</a></nav>'
    return (
        f'{head}<body>\n<header>{back}</header>\n<main class="lesson">\n{content}</main>{rest.partition("</main>")[2]}'
    )
