"""argv -> one call.  Flags are derived from dataclasses; nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from levsha import __version__
from levsha.commands import find_command, help_text, run_command
from levsha.errors import LevshaError, show_warnings_in_a_line
from levsha.recipes import RECIPES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: see `levsha --help`."""
    words = list(sys.argv[1:] if argv is None else argv)
    show_warnings_in_a_line()
    try:
        return _dispatch(words)
    except LevshaError as error:
        print(f"levsha: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlevsha: stopped; what was finished is kept, repeat the command to continue.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as head does
        return 0


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text(list(RECIPES)))
        return 0
    if words[0] == "--version":
        print(f"levsha {__version__}")
        return 0
    find_command(words[0])
    return run_command(words[0], words[1:])


if __name__ == "__main__":
    sys.exit(main())
