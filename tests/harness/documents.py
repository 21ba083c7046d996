"""The code blocks of a document, so that tests do what the document says."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code, and the file that its title names."""

    language: str
    title: str | None
    text: str


def sections(document: Path, preamble: bool = False) -> dict[str, list[Block]]:
    """The blocks of each section of a Markdown document, by the section's heading; also before the first, if wanted."""
    first, *parts = re.split(r"^## (.*)$", document.read_text(), flags=re.MULTILINE)
    parts = ["", first, *parts] if preamble else parts
    return {
        heading: [Block(match["language"], match["title"], match["text"]) for match in BLOCK.finditer(text)]
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


def commands(blocks: list[Block]) -> list[list[str]]:
    """The commands of the console blocks, without their comments and without the file that the output goes to."""
    lines = "\n".join(block.text for block in blocks if block.language == "console").replace("\\\n", " ").splitlines()
    return [shlex.split(line[2:].partition(" > ")[0], comments=True) for line in lines if line.startswith("$ ")]
