"""What every data module shares: the four loaders, the checks of its settings, and what it says of its data."""

from collections.abc import Sequence
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from rnnzoo.data.handed import shown
from rnnzoo.data.sharing import Fetched, in_order, shuffled
from rnnzoo.data.splits import PARTS
from rnnzoo.description import Description
from rnnzoo.errors import RnnZooError


class DataModule(LightningDataModule):
    """The base of the data modules: each part of the data by one method, `loader`.

    One of one's own defines `loader` and `description`, and says in `provides` what the latter has, so that a task
    which needs something else is refused before anything is read. It shares out its data among processes itself, which
    needs a trainer with use_distributed_sampler=False; a data module that leaves that to Lightning derives from
    LightningDataModule.
    """

    provides: ClassVar[tuple[str, ...]] = ()
    shares_out: ClassVar[bool] = True  # among processes; the command line switches Lightning's sampler off by it
    predict_split: str = "test"
    predict_split_of_others: ClassVar[str] = "all"  # where `predict` gets other data than those of the training

    @property
    def description(self) -> Description:
        """What a task has to know of the data; may read them, and can be asked for before `setup`."""
        raise RnnZooError(f"{type(self).__name__} must define description")

    def loader(self, part: str, training: bool) -> DataLoader[Any]:
        """The batches of "train", "validation", "test" or what else `predict_split` may be, which are in order."""
        raise RnnZooError(f"{type(self).__name__} must define loader(part, training)")

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader("validation", training=False)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader("test", training=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.predict_split, training=False)

    def baselines(self) -> dict[str, float]:
        """Figures of a simple method on the same parts, by their names, where `baseline` asks for them."""
        return {}

    def own_columns(self, names: Sequence[str], number: Sequence[int]) -> dict[str, Any]:
        """Columns of the data set as it is, for the examples of `predict_split` that have these numbers.

        Raises:
            RnnZooError: there are no such columns.
        """
        raise RnnZooError(f"predictions.columns: {type(self).__name__} has no columns of its own")

    def check_at_least(self, **least: int) -> None:
        """Raises RnnZooError for a setting below the number given here by its name."""
        for name, smallest in least.items():
            if (value := getattr(self, name)) < smallest:
                raise RnnZooError(f"{name}={value} must be at least {smallest}")

    def check_predict_split(self, *others: str) -> None:
        """Raises RnnZooError where `predict_split` is none of the parts, nor of `others`."""
        known = [*PARTS, *others]
        if self.predict_split not in known:
            listed = f"{', '.join(known[:-1])} or {known[-1]}"
            raise RnnZooError(f"predict_split={self.predict_split!r} must be {listed}")


class ExampleData(DataModule):
    """Data of single examples, of one part each, by the method `read`; shuffled in training, else in order.

    Training goes through them in an order that depends on the seed and the epoch only; on several processes each takes
    every so-manieth of them, so that together they see the batch that one process would see. In evaluation each is
    seen exactly once.
    """

    batch_size: int = 32
    num_workers: int = 0
    named: ClassVar[str] = "examples"

    def read(self, part: str, training: bool) -> Fetched:
        """Those of a part."""
        raise RnnZooError(f"{type(self).__name__} must define read(part, training)")

    def loader(self, part: str, training: bool) -> DataLoader[Any]:
        examples = self.read(part, training)
        if not training:
            return in_order(examples, self.batch_size, self.trainer, self.num_workers, f"{self.named} of {part}")
        if len(examples) < self.batch_size:
            raise RnnZooError(
                f"batch_size={self.batch_size} is larger than the {len(examples)} training {self.named} of"
                f" {self._what()}: batch_size={len(examples)} would do"
            )
        return shuffled(examples, self.batch_size, self.trainer, self.num_workers)

    def _what(self) -> str:
        return shown(getattr(self, "dataset", type(self).__name__))
