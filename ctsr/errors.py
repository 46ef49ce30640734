"""Mistakes that a user can mend, and warnings, told in one line."""

import sys
from functools import cache


class UserError(Exception):
    """A mistake in the input or the configuration.

    The message is one line: it names the file, key or case and says what to do. The command-line programs print it
    without a traceback and exit with a non-zero code.
    """


def warn(message: str) -> None:
    """Tell, on standard error, what goes on but should be known."""
    print(f"warning: {message}", file=sys.stderr)


@cache
def warn_once(message: str) -> None:
    """As `warn`, of a file that is looked at several times: each message once in a process."""
    warn(message)
