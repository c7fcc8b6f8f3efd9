"""What strangers wrote, on an operator's terminal."""


def printable(text: str) -> str:
    """The text with its control characters spelt out: what a stranger wrote must not steer a terminal."""
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
