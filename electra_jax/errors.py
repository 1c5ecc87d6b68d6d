"""The exceptions that mean: what the user gave is wrong; raised where the value enters."""


class UserError(Exception):
    """Bad input or configuration: one message that says what, where, and how to mend it.

    The command line prints the message without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """A loss or gradient that is not finite: the run's values make it diverge."""
