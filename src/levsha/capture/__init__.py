"""From a user's model to calls, and from calls to the nodes that `lower` turns into integers."""

from levsha.capture.call import MEANINGS, Call, Program, run_calls

__all__ = ["MEANINGS", "Call", "Program", "run_calls"]
