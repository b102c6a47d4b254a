"""The commands of the command line, one class each: its fields are the options, its docstring is the help.

Everything heavy is imported when a command runs, so that ``moldiff --help`` answers at once.
"""

from moldiff.commands.complete import Complete
from moldiff.commands.data import Data
from moldiff.commands.evaluate import Evaluate
from moldiff.commands.models import Models
from moldiff.commands.options import DONE, INTERRUPTED, NOTHING_MADE, USER_ERROR, say
from moldiff.commands.sample import Sample
from moldiff.commands.train import Train
from moldiff.commands.view import View

__all__ = [
    "Complete",
    "Data",
    "Evaluate",
    "Models",
    "Sample",
    "Train",
    "View",
    "say",
    "DONE",
    "INTERRUPTED",
    "NOTHING_MADE",
    "USER_ERROR",
]
