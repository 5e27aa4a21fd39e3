"""How each kind of node becomes integer ops, one a file; these lists are the only places that name them all."""

from levsha.lower.node import Clip, Function
from levsha.lower.rules import affine, clip, conv, embed, layer_norm, linear, recurrent, same, several, sum, table
from levsha.lower.rules.base import Context, Finish, Layer, Rule

FINISHES: dict[type, Finish] = {Clip: clip.finish, type(None): clip.finish, Function: table.finish}  # by activation
RULES: dict[str, Rule] = {
    "linear": linear.lower,
    "conv": conv.lower,
    "affine": affine.lower,
    "alias": same.lower_alias,
    "max": same.lower_max,
    "gather": same.lower_gather,
    "sum": sum.lower,
    "add": several.lower_add,
    "multiply": several.lower_multiply,
    "concat": several.lower_concat,
    "embed": embed.lower,
    "recurrent": recurrent.lower,
    "layer_norm": layer_norm.lower,
}  # by kind of node

__all__ = ["FINISHES", "RULES", "Context", "Finish", "Layer", "Rule"]
