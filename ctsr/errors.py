"""Mistakes that a user can mend, told in one line."""


class UserError(Exception):
    """A mistake in the input or the configuration.

    The message is one line: it names the file, key or case and says what to do. The command-line programs print it
    without a traceback and exit with a non-zero code.
    """
