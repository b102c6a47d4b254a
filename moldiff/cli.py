"""The command line: reads the arguments, runs a command, turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, subcommand

from moldiff.commands import DONE, INTERRUPTED, USER_ERROR, Complete, Data, Evaluate, Models, Sample, Train, View, say

Command = (
    Annotated[Sample, subcommand("sample")]
    | Annotated[Complete, subcommand("complete")]
    | Annotated[Models, subcommand("models")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[View, subcommand("view")]
)

DESCRIPTION = """Generate molecules in 3D by equivariant diffusion.

Begin with: moldiff sample qm9 -n 100 -o samples.sdf

Every command has its own help with an example: moldiff sample --help.

Exit codes: 0 done; 1 nothing valid was made, or an unexpected error, shown with its traceback; 2 bad input, with a line
that says what to do; 130 interrupted (Ctrl-C), with everything finished so far kept."""


def parse(argv: Sequence[str]) -> Sample | Complete | Models | Data | Train | Evaluate | View:
    """The command that some arguments (without the program's name) ask for; none ask for help.

    Raises:
        SystemExit: after ``--help``, and for arguments that cannot be parsed.
    """
    arguments = list(argv) or ["--help"]
    command: Any = tyro.cli(
        Command, prog="moldiff", description=DESCRIPTION, args=arguments, config=(FlagCreatePairsOff,)
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
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        if not raised_here(error):
            raise
        say(f"error: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def main() -> None:
    """The program ``moldiff``."""
    sys.exit(run())


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
