"""What a cell's step can depend on: a digest of it, and a check at every call that it still holds."""

from rnnzoo.kernels.fingerprint.recognised import (
    Fingerprint,
    by_steps_alone,
    fingerprint,
    for_one_call,
    refuse,
    remember_on,
)

__all__ = ["Fingerprint", "by_steps_alone", "fingerprint", "for_one_call", "refuse", "remember_on"]
