"""What is on the HuggingFace hub: asked once whether it is there, and loaded from what is kept where it is not."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo.data.builders import load, options_of, prepared, read_csv, reason, with_cache
from rnnzoo.errors import RnnZooError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

_TIMEOUT = 10.0  # seconds
_OFFLINE = "HF_HUB_OFFLINE is set, so that the HuggingFace hub is not asked"
_NOT_BEFORE = "and nothing of that name was loaded before"
_LOGIN = "or one that you may not read (`hf auth login`, HF_TOKEN)"


class NotLoaded(Exception):
    """Why there is nothing of a name on the hub, as the part of a sentence."""


def no_such_data(name: str, bundled: str, error: Exception, give: str) -> RnnZooError:
    """What is said of a data set that is no file or folder here, and that the hub did not give.

    Args:
        name: of the data set.
        bundled: a name that needs no file, which may have been meant.
        error: why the hub did not give it.
        give: what would be right.
    """
    why = str(error) if isinstance(error, NotLoaded) else f"reading it from the hub failed too ({reason(error)})"
    return RnnZooError(f"dataset={name!r} is no file or folder here{did_you_mean(name, [bundled])} {why}: give {give}")


def load_from_hub(
    name: str, subset: str | None, columns: Collection[str | None], cache_dir: str | None
) -> dict[str, "Dataset"]:
    """The splits of a data set on the hub; without a network, of one that was loaded before.

    Args:
        name: "owner/name", or the name alone of one that had no owner once.
        subset: its configuration.
        columns: of CSV files that are asked for by name.
        cache_dir: folder for what `datasets` prepares.

    Raises:
        NotLoaded: nothing of that name, it may not be read, or there is no network.
        RnnZooError: it has several configurations and none is named, or none of the name that is.
    """
    found, offline = find_on_hub(name)
    if offline is None:
        return _load(found, name, subset, columns, cache_dir)
    with _without_network():
        try:
            return _load(found, name, subset, columns, cache_dir)
        except RnnZooError:
            raise
        except Exception as error:
            kept = _files_kept(found)
            if kept is None:
                raise NotLoaded(f"{offline}, {_NOT_BEFORE}") from error
        return _load(str(kept), name, subset, columns, cache_dir)


def file_from_hub(name: str, file: str) -> Path:
    """A file of a model on the hub; without a network, one that was loaded before.

    Raises:
        NotLoaded: nothing of that name, no such file, it may not be read, or there is no network.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    found, offline = find_on_hub(name, "model")
    try:
        return Path(hf_hub_download(found, file, local_files_only=offline is not None))
    except LocalEntryNotFoundError as error:
        raise NotLoaded(f"{offline or reason(error)}, {_NOT_BEFORE}") from error
    except EntryNotFoundError as error:
        raise NotLoaded(f"on the HuggingFace hub it has no {file}") from error
    except GatedRepoError as error:
        raise NotLoaded(_terms(found)) from error
    except Exception as error:  # the client has a dozen kinds
        raise NotLoaded(f"loading it from the HuggingFace hub failed ({reason(error)})") from error


def find_on_hub(name: str, kind: str = "dataset") -> tuple[str, str | None]:
    """The name that the hub has for a data set or a "model", and why it cannot be asked, where it cannot.

    One request, which is not repeated: the client tries six times, for half a minute. It also knows of data sets that
    had a name without an owner, which the client does not take any more.

    Raises:
        NotLoaded: there is nothing of that name, or it may not be read.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if constants.is_offline_mode():
        return name, _OFFLINE
    try:
        return HfApi().repo_info(name, repo_type=kind, timeout=_TIMEOUT).id or name, None
    except GatedRepoError:
        return name, None  # its files may be read all the same, or are refused with a reason
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise NotLoaded(_unknown(kind)) from error
    except OfflineModeIsEnabled:
        return name, _OFFLINE
    except Exception as error:
        if any(kind.__name__ == "TransportError" for kind in type(error).__mro__):  # of httpx, or what goes for it
            return name, f"the HuggingFace hub ({constants.ENDPOINT}) cannot be reached: {reason(error)}"
        return name, None  # it is busy, say: the client waits, and tries again


def _unknown(kind: str) -> str:
    return f"the HuggingFace hub has no {'data set' if kind == 'dataset' else kind} of that name, {_LOGIN}"


def _terms(place: str) -> str:
    from huggingface_hub import constants

    where = f"{constants.ENDPOINT}/{place}"
    return f"on the HuggingFace hub it is for those who agreed to its terms: do so at {where}, and `hf auth login`"


@contextmanager
def _without_network() -> Iterator[None]:
    """`datasets` takes what it has kept, and asks nobody."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _files_kept(name: str) -> Path | None:
    """The folder with the files of a data set as they were downloaded."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset", local_files_only=True))
    except Exception:  # of a dozen kinds, all for files that are not there; the caller says why they are looked for
        return None


def _load(
    found: str, name: str, subset: str | None, columns: Collection[str | None], cache_dir: str | None
) -> dict[str, "Dataset"]:
    import datasets

    try:
        builder = make_builder(found, name, subset, cache_dir)
        files = getattr(builder.config, "data_files", None) or {}
        packed = builder.name == "json" and any(str(f).endswith(".zst") for own in files.values() for f in own)
        if not (builder.name == "csv" and files) and not packed:
            return load(found, name=subset, cache_dir=cache_dir)
        options = options_of(builder)
        manager = datasets.DownloadManager(dataset_name=builder.dataset_name, base_path=builder.base_path)
        local = {str(split): [Path(f) for f in manager.download(list(own))] for split, own in files.items()}
        return from_files(builder.name, local, name, columns, cache_dir, options)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise NotLoaded(_terms(f"datasets/{found}") if "gated" in str(error) else _unknown("dataset")) from error


def from_files(
    kind: str,
    files: dict[str, list[Path]],
    name: str,
    columns: Collection[str | None],
    cache_dir: str | None,
    options: dict[str, Any],
) -> dict[str, "Dataset"]:
    """Files of a data set whose README may say more of them; CSV files strictly, unless it says how they are read."""
    if kind != "csv" or set(options) - {"sep", "delimiter", "features"}:
        return prepared(kind, files, cache_dir, options)
    features = options.get("features")
    text = [] if features is None else [c for c, f in features.items() if getattr(f, "dtype", None) == "string"]
    splits = {split: read_csv(own, name, columns, text) for split, own in files.items()}
    if features is None:
        return splits
    return {
        split: rows.cast(type(features)({c: features[c] for c in rows.column_names})) for split, rows in splits.items()
    }


def make_builder(place: str, name: str, subset: str | None, cache_dir: str | None) -> Any:
    """The builder of `datasets` for a folder or a name on the hub.

    Raises:
        RnnZooError: there are several configurations and none is named, or none of the name that is.
    """
    import datasets

    try:
        return with_cache(datasets.load_dataset_builder, place, subset, cache_dir=cache_dir)
    except ValueError as error:
        if not ("Config name is missing" in str(error) or f"BuilderConfig {subset!r} not found" in str(error)):
            raise
        configs = datasets.get_dataset_config_names(place)
        if subset is None:
            raise RnnZooError(
                f"dataset={name!r} has the configurations {', '.join(configs)}: give one, as subset={configs[0]!r} or"
                f" dataset='{name}:{configs[0]}'"
            ) from error
        raise RnnZooError(
            f"subset={subset!r} is no configuration of dataset={name!r}{did_you_mean(subset, configs)} it has"
            f" {', '.join(configs)}"
        ) from error
