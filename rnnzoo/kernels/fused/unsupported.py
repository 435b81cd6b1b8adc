"""What the kernel says no with."""


class Unsupported(Exception):
    """What the kernel cannot do; its text is the reason, a sentence without a subject."""
