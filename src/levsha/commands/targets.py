"""levsha targets: the chips, and which of their tools are on this machine."""

from __future__ import annotations

from levsha.commands.parse import refuse_words
from levsha.targets import TARGETS


def main(command: str, words: list[str]) -> int:
    """Print the list."""
    refuse_words(command, words)
    for target in TARGETS.values():
        memory = f"{target.flash_bytes} B flash, {target.ram_bytes} B SRAM" if target.flash_bytes else "no limits"
        print(f"{target.name:<6} {target.chip:<20} {memory:<30} {target.missing() or 'ready'}")
        for tool in target.tools:
            print(f"       {'found  ' if tool.found() else 'missing'} {tool.name} ({tool.package})")
        for kernel in target.kernels:
            print(f"       kernel  {kernel.name}: {(kernel.__doc__ or '').splitlines()[0]}")
    return 0
