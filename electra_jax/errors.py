"""The exceptions for wrong input, raised where the value enters the program."""


class UserError(Exception):
    """Bad input or configuration: one message that names what is wrong, where, and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """A loss or gradient that is not finite."""
