"""A data module and a task of somebody else: plain loaders, and predictions that do not say which row is which."""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rnnzoo.data import Examples
from rnnzoo.tasks import SequenceTask


class Rows(Dataset[Examples]):
    """Sequences that depend on their number alone, each with its mean as the answer."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Examples:
        x = torch.rand(6, 2, generator=torch.Generator().manual_seed(k))
        return Examples(x, x.mean()[None], torch.tensor(k))


class TheirData(LightningDataModule):
    """Shares out nothing among processes: Lightning does."""

    problem = {"input_size": 2, "classes": 0, "answers": 1, "constant": 0.5}  # noqa: RUF012  # as one writes it

    def __init__(self, rows: int = 37, batch_size: int = 4) -> None:
        super().__init__()
        self.rows, self.batch_size = rows, batch_size

    def train_dataloader(self) -> DataLoader[Examples]:
        return DataLoader(Rows(self.rows), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Examples]:
        return DataLoader(Rows(self.rows), batch_size=self.batch_size)

    test_dataloader = predict_dataloader = val_dataloader


class TheirTask(SequenceTask):
    """Records which examples it is trained on, and predicts without their numbers."""

    prediction_order = property()  # type: ignore[assignment]  # has none, unlike ours

    def training_step(self, batch: Examples, index: int) -> Tensor:
        with open(f"seen_{self.global_rank}.txt", "a") as file:
            file.writelines(f"{k}\n" for k in batch.number.tolist())
        return super().training_step(batch, index)

    def predict_step(self, batch: Examples, index: int) -> dict[str, Tensor]:  # type: ignore[override]
        y = self(batch.x)[:, 0]
        return {"label": (batch.y[:, 0] > 0.5).long(), "answer": batch.y[:, 0], "y": y, "x": batch.x[:, 0].bfloat16()}
