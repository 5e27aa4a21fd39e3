"""The one exception for a mistake the user can mend."""

import numbers
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FLAG = re.compile(r"--([a-z][a-z.-]*[a-z])( (?=\w))?")


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


def check_number(flag: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    """Raise LevshaError unless a value is a number, whole where that is asked for, and low <= value <= high.

    >>> check_number("vectors", 10, 1, 100, whole=True)
    >>> check_number("vectors", "10", 1, 100, whole=True)
    Traceback (most recent call last):
    levsha.errors.LevshaError: --vectors: is '10'; a whole number is needed, 1 to 100.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if whole else numbers.Real):
        raise LevshaError(f"--{flag}: is {value!r}; a {'whole ' * whole}number is needed, {low} to {high}.")
    check_range(flag, value, low, high)  # pyright: ignore[reportArgumentType]


def as_arguments(text: str, **renamed: str) -> str:
    """Return a sentence for a caller from Python: arguments in the place of the command line's flags.

    renamed: flags that are arguments of another name.

    >>> as_arguments("--calibration-rows: is 0."), as_arguments("give --state net.pth, or --keep 0.5.")
    ('calibration_rows: is 0.', 'give state=net.pth, or keep=0.5.')
    """

    def argument(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_").replace("train.", "training.")
        return renamed.get(name, name) + "=" * bool(found[2])

    return FLAG.sub(argument, text)


@contextmanager
def naming_arguments(**renamed: str) -> Iterator[None]:
    """Let errors name the arguments of a function, where they would name the command line's flags; renamed: as for as_arguments."""
    try:
        yield
    except LevshaError as error:
        raise LevshaError(as_arguments(str(error), **renamed)) from error.__cause__


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
