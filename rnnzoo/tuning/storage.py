"""Where a study is kept: SQLite in its folder, or any storage of Optuna's, by a URL."""

import random
import re
import time
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

from rnnzoo.errors import RnnZooError

HEARTBEAT, GRACE = 30, 120  # seconds between signs of life, and without one until a trial counts as lost
RETRIES = 2  # times that the settings of a lost trial are tried again
_ATTEMPTS = 20
FORMS = (
    "sqlite:///study.db, postgresql://USER@HOST/NAME, mysql+pymysql://..., journal:///shared/study.log, redis://HOST"
)


def retry() -> RetryHeartbeatStaleTrialCallback:
    """What puts the settings of a lost trial into the queue again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "experimental"
        return RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """The storage of a URL; without one, a SQLite file in the study's folder.

    Raises:
        RnnZooError: it cannot be opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if url is None:
            folder.mkdir(parents=True, exist_ok=True)
            return _at_once(lambda: _database(f"sqlite:///{folder.absolute() / 'study.db'}"))
        try:
            return _at_once(lambda: _opened(url))
        except RnnZooError:
            raise
        except Exception as error:  # a driver's own
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RnnZooError(f"--storage {without_password(url)!r} cannot be used: {first}") from error


def _at_once(open_it: Callable[[], BaseStorage]) -> BaseStorage:
    """Opens a storage, also where another worker makes its tables at the same moment."""
    for attempt in count(1):
        try:
            return open_it()
        except Exception as error:
            if attempt == _ATTEMPTS or not re.search(
                "already exists|locked|unique|duplicate", str(error), re.IGNORECASE
            ):
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError


def without_password(url: str) -> str:
    """A URL that may be printed."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _opened(url: str) -> BaseStorage:
    scheme, there, rest = url.partition("://")
    if not there:
        raise RnnZooError(f"--storage {url!r} is no URL: it takes {FORMS}")
    if scheme == "journal":
        Path(rest).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(rest))
    if scheme in ("redis", "rediss"):
        return JournalStorage(JournalRedisBackend(url))
    if scheme == "grpc":
        host, _, port = rest.partition(":")
        return GrpcStorageProxy(host=host or "localhost", port=int(port or 13000))
    return _database(url)


def _database(url: str) -> RDBStorage:
    # several workers write to one SQLite file: each waits for the others
    settings: dict[str, Any] = (
        {"connect_args": {"timeout": 120}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    )
    return RDBStorage(
        url,
        engine_kwargs=settings,
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=retry(),
    )
