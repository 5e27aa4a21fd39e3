"""From a trained float net to an exact integer graph."""

from levsha.lower.build import Lowered, Source, lower
from levsha.lower.calibrate import Pins, Scale
from levsha.lower.diagnose import Finding, diagnose
from levsha.lower.node import RELU, Clip, Function, Node, run_float
from levsha.lower.options import Options
from levsha.lower.rounding import IntegerLayer, round_layer
from levsha.lower.rules import Layer

__all__ = [
    "RELU",
    "Clip",
    "Finding",
    "Function",
    "IntegerLayer",
    "Layer",
    "Lowered",
    "Node",
    "Options",
    "Pins",
    "Scale",
    "Source",
    "diagnose",
    "lower",
    "round_layer",
    "run_float",
]
