"""The one exception for a mistake the user can mend."""

import sys
import warnings


class LevshaError(Exception):
    """A mistake the user can mend; the text says where, what was found, what is allowed, what to do.

    The command line prints it as one line and exits with status 2.
    """


def check_range(flag: str, value: float, low: float, high: float) -> None:
    """Raise LevshaError unless low <= value <= high; `flag` is what the user wrote, without its dashes.

    >>> check_range("seed", 3, 0, 9)
    >>> check_range("seed", -1, 0, 9)
    Traceback (most recent call last):
    levsha.errors.LevshaError: --seed: is -1; allowed are 0 to 9.
    """
    if not low <= value <= high:
        raise LevshaError(f"--{flag}: is {value}; allowed are {low} to {high}.")


class LevshaWarning(UserWarning):
    """Something the user should know of and that stops nothing."""


def show_warnings_in_a_line() -> None:
    """Show every warning of this process as one line on standard error, without the line of code it came from."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        label = "warning" if category is LevshaWarning else f"warning ({category.__name__})"
        print(f"levsha: {label}: {message}", file=sys.stderr)

    warnings.showwarning = show


def warn(text: str) -> None:
    """Warn the user; the command line shows it as one line on standard error."""
    warnings.warn(text, LevshaWarning, stacklevel=3)
