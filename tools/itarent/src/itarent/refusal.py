"""Why a command does not do what it was asked to."""


class Refusal(Exception):  # noqa: N818 - each is named by what is the case
    """An error whose message says what to do: commands show it without a traceback, and exit with 1."""
