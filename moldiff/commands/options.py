"""What the commands share: kinds of options, exit codes, lines for the user."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

#: Exit codes.
DONE, NOTHING_MADE, USER_ERROR, INTERRUPTED = 0, 1, 2, 130

# options without a default of their own: the help says in words what happens then
Whole = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
Number = Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")]
Flag = Annotated[bool, arg(help_behavior_hint="")]
Where = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
Text = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]
Formula = Annotated[str | None, arg(metavar="FORMULA", help_behavior_hint="")]
Elements = Annotated[str | None, arg(metavar="ELEMENTS", help_behavior_hint="")]
Numbers = Annotated[str | None, arg(metavar="NUMBERS", help_behavior_hint="")]
Compile = Annotated[Literal["auto", "on", "off"] | None, arg(metavar="{auto,on,off}", help_behavior_hint="")]


def say(text: str) -> None:
    """A line for the user on stderr, where it disturbs no output; of several processes only the first says it."""
    if os.environ.get("RANK", "0") == "0":
        print(f"moldiff: {text}", file=sys.stderr)
