"""How each kind of node becomes integer ops, one a file; these lists are the only places that name them all."""

from levsha.lower.node import Clip, Function
from levsha.lower.rules import affine, clip, linear, table
from levsha.lower.rules.base import Context, Finish, Layer, Rule

FINISHES: dict[type, Finish] = {Clip: clip.finish, type(None): clip.finish, Function: table.finish}  # by activation
RULES: dict[str, Rule] = {"linear": linear.lower, "affine": affine.lower}  # by kind of node

__all__ = ["FINISHES", "RULES", "Context", "Finish", "Layer", "Rule"]
