"""The one exception for a mistake the user can mend."""


class LevshaError(Exception):
    """A mistake the user can mend; the text says where, what was found, what is allowed, what to do.

    The command line prints it as one line and exits with status 2.
    """
