"""Prints the Debian packages that hold the tools of all targets, for the setup script."""

from levsha.targets import TARGETS

print(" ".join(dict.fromkeys(tool.package for target in TARGETS.values() for tool in target.tools)))
