"""A call in a thread of its own: what torch keeps for the caller's thread does not reach it."""

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def alone(function: Callable[[], T]) -> T:
    """The result of `function`, without the caller's hooks on saved tensors, modes, transforms, autocast, inference
    mode or default device: a trace must be the same whoever asks for it."""
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(function))
        except BaseException as error:  # the caller's thread raises it
            errors.append(error)

    thread = threading.Thread(target=run, name="rnnzoo: trace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
