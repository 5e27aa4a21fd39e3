"""This machine at full speed: a net's C with vector instructions, compiled once as a library, called from Python."""

from levsha.targets.native.compiled import VARIABLE, compiled_run, prepare
from levsha.targets.native.instructions import INSTRUCTIONS
from levsha.targets.native.library import Library
from levsha.targets.native.reals import Reals

__all__ = ["INSTRUCTIONS", "VARIABLE", "Library", "Reals", "compiled_run", "prepare"]
