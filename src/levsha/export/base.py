"""What an export is given: a net as integers, or the float net it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from levsha.net import Net


@dataclass(frozen=True)
class Floats:
    """A trained float net: arrays by the names of its state_dict, and about: what its inputs and outputs are, as JSON has it."""

    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """name: of the variant. net, floats: what there is of it. tests: a few inputs, for self-tests. Options as in levsha export."""

    name: str
    net: Net | None = None
    floats: Floats | None = None
    tests: Mapping[str, np.ndarray] = field(default_factory=dict)
    prefix: str = "net"
    single: bool = False
    instance: bool = False

    @property
    def integer(self) -> Net:
        """The integer net; an export of kind `integer` is given one."""
        assert self.net is not None
        return self.net

    @property
    def trained(self) -> Floats:
        """The float net; an export of kind `float` is given one."""
        assert self.floats is not None
        return self.floats
