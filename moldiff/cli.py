"""The command line: reads the arguments, runs a command, turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, subcommand

from moldiff.commands import DONE, INTERRUPTED, USER_ERROR, Complete, Data, Evaluate, Models, Sample, Train, View, say

Command = Sample | Complete | Evaluate | View | Train | Data | Models

#: The commands by name, with what the overview says of them; their own help is longer.
COMMANDS: dict[str, tuple[type[Command], str]] = {
    "sample": (Sample, "new molecules or crystals from a model into a file"),
    "complete": (Complete, "keep a part of a structure and make the rest anew"),
    "evaluate": (Evaluate, "judge the structures of a file, of any origin"),
    "view": (View, "pictures, pages and movies of structures"),
    "train": (Train, "train a model on a data set or on a file of your own"),
    "data": (Data, "prepare training data"),
    "models": (Models, "list the weights in the package and their properties"),
}

DESCRIPTION = """Generate molecules and crystals in 3D by equivariant diffusion.

Begin with:
    moldiff sample qm9 -n 100 -o samples.sdf
    moldiff view samples.sdf -o samples.png
    moldiff evaluate samples.sdf

Every command has its own help with examples: moldiff sample --help

Progress bars appear on a terminal only. In scripts, --quiet leaves out tables and bars, --json prints the summary for
machines. Tables and JSON go to stdout, everything else to stderr.

Exit codes:
    0    done
    1    nothing valid was made, or an unexpected error, shown with its traceback
    2    bad input, with one line that says what to do
    130  interrupted (Ctrl-C), with everything finished so far kept"""


def parse(argv: Sequence[str]) -> Command:
    """The command that some arguments (without the program's name) ask for; none ask for help.

    Raises:
        SystemExit: after ``--help``, and for arguments that cannot be parsed.
    """
    arguments = list(argv) or ["--help"]
    if arguments[0] == "evaluate":
        arguments = Evaluate.spelled(arguments)
    overview = arguments[0] not in COMMANDS
    kinds: Any = tuple(
        Annotated[kind, subcommand(name, description=text if overview else None)]
        for name, (kind, text) in COMMANDS.items()
    )
    command: Any = tyro.cli(
        reduce(or_, kinds), prog="moldiff", description=DESCRIPTION, args=arguments, config=(FlagCreatePairsOff,)
    )
    return command  # type: ignore[no-any-return]


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Raises:
        SystemExit: as `parse`.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given == ["--version"]:
        from importlib.metadata import version

        print(f"moldiff {version('moldiff')}")
        return DONE
    command = parse(given)
    try:
        with short_warnings():
            return command.run()
    except (ValueError, FileNotFoundError, ConnectionError, ImportError) as error:
        if not raised_here(error):
            raise
        say(f"error: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def main() -> None:
    """The program ``moldiff``."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of the output, such as `head`, has enough; Python must not complain of it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    sys.exit(code)


def raised_here(error: BaseException) -> bool:
    """Whether this package raised an error itself, in words for the user; else it is a bug and keeps its trace."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Path(last.filename).is_relative_to(Path(__file__).parent) and (last.line or "raise").startswith("raise")


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """Show warnings as one line each, without the line of code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield
