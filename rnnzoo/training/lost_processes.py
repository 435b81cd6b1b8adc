"""Another process of a training has gone, or never came: what is said of it in one line."""

import re

from torch import distributed

_GONE = re.compile(
    r"gloo/|NCCL|ncclSystemError|connection (?:closed|reset) by peer|broken pipe|timed out waiting|clients joined",
    re.IGNORECASE,
)


def of_another_process(error: BaseException) -> str | None:
    """What to say of an error that comes of another process of the training; None of any other error.

    gloo raises a RuntimeError, NCCL one of torch's own kinds, and the store by which processes meet another.
    """
    known = isinstance(error, getattr(distributed, "DistError", ()))
    text = " ".join(str(error).split())
    if not known and not (isinstance(error, RuntimeError) and _GONE.search(text)):
        return None
    if met := re.search(r"(\d+)/(\d+) clients joined", text):
        return f"only {met[1]} of the {met[2]} processes of this training came within the time: start the others too"
    reason = re.sub(r"^\[[^\]]*\]\s*", "", text)  # a line of gloo's source
    reason = re.split(r"\. |; |$", reason, maxsplit=1)[0]
    return f"another process of this training has gone, and none can go on without it ({reason})"
