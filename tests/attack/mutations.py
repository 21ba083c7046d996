"""Damage to bytes and to texts, drawn from a random generator."""

import random
from typing import Any

VALUES = r"""null true -1 0 1e30 .nan .inf -.inf '' [] {} /etc/passwd '../../x' lstm fast 0x10 [100000] 1000000000000
'$(touch${IFS}pwned)' '`touch${IFS}pwned`' 'x;touch${IFS}pwned#' 'x>pwned' 'a\nb' "\e]0;x\a" "a\nb" 2020-99-99 *gone"""
NASTY = [  # values for a parameter, as YAML
    *VALUES.split(),
    *("!!int x", "!!bool x", "!!python/object:os.system x"),
    *("9" * 5000, "'" + "x" * 100_000 + "'", "[" * 3000 + "]" * 3000, "[" + "1, " * 20 + "1]"),
]
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
INPUTS = "0110|| |-|--help|0b1|there came a|a b c d|docs|/|\x00|\ufffd|\u0966\u0967|\u0661|\x1b]0;x\x07|0110\n0110"
WORDS = [*INPUTS.split("|"), "01" * 60_000]  # inputs of `pipeline predict`


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with a flipped bit, cut off, with bytes of it repeated, zeroed or replaced; never the same."""
    size, kind = len(content), rng.choice(["flip", "flip", "cut", "zero", "repeat", "replace", "empty"])
    place = rng.randrange(size) if size else 0
    length = rng.randint(1, max(1, size // 10))
    match kind:
        case "flip" if size:
            changed = content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        case "cut":
            changed = content[:place]
        case "zero":
            changed = content[:place] + bytes(min(length, size - place)) + content[place + length :]
        case "repeat":
            changed = content[:place] + content[place : place + length] + content[place:]
        case "replace":
            changed = content[:place] + rng.randbytes(length) + content[place + length :]
        case _:
            changed = b""
    return changed if changed != content else content + b"x"


def edited(text: str, rng: random.Random) -> str:
    """A YAML text with another value or key in one of its lines, a line doubled or gone, or something after it."""
    lines = text.splitlines()
    place = rng.choice([i for i, line in enumerate(lines) if ":" in line and not line.lstrip().startswith("#")])
    key, _, value = lines[place].partition(":")
    match rng.choice(["value", "value", "value", "key", "double", "gone", "indent", "after", "bytes"]):
        case "value":
            lines[place] = f"{key}: {rng.choice(NASTY)}"
        case "key":
            lines[place] = f"{rng.choice([key + 'x', key[:-1], '  ' + key, key.upper(), '? |', '<<'])}:{value}"
        case "double":
            lines.insert(place, lines[place])
        case "gone":
            del lines[place]
        case "indent":
            lines[place] = rng.choice([" ", "\t", "-"]) + lines[place]
        case "after":
            lines.append(rng.choice([BOMB, "<<: *gone", "extra: 1", "%YAML 9", "---\n- x", "\ufeffx: 1"]))
        case _:
            return damaged(text.encode(), rng).decode(errors="replace")
    return "\n".join(lines) + "\n"


def retyped(content: Any, rng: random.Random) -> Any:
    """A JSON value with one of the values in it, or itself, replaced by one of another type or size, or gone."""
    if isinstance(content, dict | list) and content and rng.random() < 0.9:
        changed: Any = content.copy()
        key = rng.choice(list(content) if isinstance(content, dict) else range(len(content)))
        if rng.random() < 0.1:
            del changed[key]
        else:
            changed[key] = retyped(content[key], rng)
        return changed
    return rng.choice(
        [None, True, 0, -1, 1, 10**400, 1e308, float("nan"), "", "x", "\x1b[31m", "\ud800", [], [None], {}, {"a": 1}]
    )
