"""The task in Python: its loss and figures, what it writes, and what a checkpoint of it keeps."""

import random

import pytest
import torch
from lightning.pytorch import Trainer

import rnnzoo
from rnnzoo import RnnZooError
from rnnzoo.data import TextPairData
from rnnzoo.models.copying import log_probabilities
from rnnzoo.tasks import SequenceToSequence

pytestmark = pytest.mark.usefixtures("nothing_compiled")

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
LETTERS = "abcdefgh"


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """Words, and their letters turned around; a TSV file."""
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    draw = random.Random(3)
    words = {"".join(draw.choices(LETTERS, k=draw.randint(2, 5))) for _ in range(400)}
    path = tmp_path / "turned.tsv"
    path.write_text("\n".join(["word\tturned", *(f"{w}\t{' '.join(w[::-1])}" for w in sorted(words))]) + "\n")
    return str(path)


def data(path, **settings):
    made = {"tokenizer": "characters", "target_tokenizer": "words", "batch_size": 16, **settings}
    return TextPairData(path, **made)


def task(description, **settings):
    torch.manual_seed(0)
    return SequenceToSequence(
        description, **{"hidden_size": 12, "embedding_size": 7, "cell": "gru", "schedule": "constant", **settings}
    )


def fit(model, module, tmp_path, **settings):
    trainer = Trainer(
        **QUIET,
        **{"max_epochs": 1, "enable_checkpointing": False, **settings},
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        gradient_clip_val=1.0,
    )
    trainer.fit(model, module)
    return trainer


@pytest.mark.parametrize("copying", [False, True])
def test_the_loss_is_the_mean_over_the_targets_tokens_and_accuracy_that_of_the_most_likely(pairs, copying):
    module = data(pairs)
    module.setup("fit")
    model = task(module.description, copying=copying).double().eval()
    batch = next(iter(module.val_dataloader()))
    decoded = model.model(batch.source, batch.begun, batch.lengths)
    extra = max(0, int(batch.copies.max()) + 1 - model.pair.size) if copying else 0
    log_p = log_probabilities(decoded, batch.copies if copying else None, extra)
    total, count, right = 0.0, 0, 0
    for b in range(len(batch.source)):
        for t, token in enumerate(batch.targets[b].tolist()):
            if token >= 0:
                total, count = total - log_p[b, t, token].item(), count + 1
                right += int(log_p[b, t].argmax()) == token
    judged = model.judge(batch, "val")
    assert judged.count.item() == count
    assert judged.loss.item() == pytest.approx(total / count)
    assert judged.means["accuracy"].item() == pytest.approx(right / count)


def test_a_batch_that_counts_for_nothing_has_no_loss_and_no_gradient(pairs):
    module = data(pairs)
    module.setup("fit")
    model = task(module.description, copying=True, label_smoothing=0.1)
    judged = model.judge(next(iter(module.val_dataloader())).unanswered(), "train")
    assert judged.count == judged.loss == 0
    gradients = torch.autograd.grad(judged.loss, list(model.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)


def test_smoothing_and_coverage_are_in_the_loss_of_training_alone(pairs):
    module = data(pairs)
    module.setup("fit")
    batch = next(iter(module.val_dataloader()))
    plain, smooth = (
        task(module.description, attention="bahdanau", **more).eval() for more in ({}, {"label_smoothing": 0.2})
    )
    assert plain.judge(batch, "val").loss == smooth.judge(batch, "val").loss == plain.judge(batch, "train").loss
    assert smooth.judge(batch, "train").loss != smooth.judge(batch, "val").loss
    covering = task(module.description, attention="bahdanau", coverage=2.0).eval()
    decoded = covering.model(batch.source, batch.begun, batch.lengths)
    there = batch.targets >= 0
    more = covering.judge(batch, "train").loss - covering.judge(batch, "val").loss
    assert more.item() == pytest.approx(2 * (decoded.repeated[there].sum() / there.sum()).item(), rel=1e-4)
    assert more > 0.01


def test_neighbours_and_padding_do_not_change_what_is_written(pairs):
    module = data(pairs)
    for options in ({"copying": True}, {"attention": "bahdanau"}, {"attention": "concat", "input_feeding": True}):
        model = task(module.description, **options).double()
        words = ["abc", "h", "gfedcba", "ba"]
        together = model.predict(words)["prediction"].tolist()
        assert together == [model.predict([word])["prediction"][0] for word in words]


def test_held_out_figures_are_of_what_is_written(pairs, tmp_path):
    module = data(pairs, several_targets=True)
    model = task(module.description)
    trainer = fit(model, module, tmp_path)
    (figures,) = trainer.test(model, module, verbose=False)
    rows = module.rows("test")
    written = model.predict(rows["word"][:])["prediction"].tolist()
    expected = sum(a != b for a, b in zip(written, rows["turned"][:], strict=True)) / len(written)
    assert figures["test_sequence_error_rate"] == pytest.approx(expected)
    assert figures["test_exact_match"] == pytest.approx(1 - expected)
    assert set(figures) == {
        *("test_loss", "test_accuracy"),
        *("test_token_error_rate", "test_sequence_error_rate", "test_exact_match"),
    }


def test_predictions_have_source_and_prediction_and_a_checkpoint_alone_is_enough(pairs, tmp_path):
    module = data(pairs)
    model = task(module.description, copying=True)
    trainer = fit(model, module, tmp_path)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    again = rnnzoo.load(path)
    assert not again.training
    assert isinstance(again, SequenceToSequence)
    frame = again.predict(["abc", "hgf"])
    assert frame.columns.tolist() == ["example", "source", "prediction"]
    assert frame["source"].tolist() == ["abc", "hgf"]
    assert frame["prediction"].tolist() == model.predict(["abc", "hgf"])["prediction"].tolist()


def test_plain_texts_that_are_none_are_one_line(pairs):
    model = task(data(pairs).description)
    for texts, message in (([], "there are no texts"), (["a", " "], "text 1 must be text, not empty"), ([3], "not 3")):
        with pytest.raises(RnnZooError, match=message):
            model.predict(texts)


def test_settings_out_of_range_are_one_line(pairs):
    about = data(pairs).description
    for settings, message in (
        ({"beam": 0}, "beam must be a whole number of at least 1, not 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), not 1.0"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0, not -1.0"),
        ({"attention": "gneral"}, "attention 'gneral' is unknown; did you mean 'general'"),
        ({"attention": "none", "copying": True}, "copying needs attention"),
        ({"figures": "all"}, "figures 'all' are unknown"),
        ({"bidirectional": True, "attention": "dot"}, "decoder_size=24 or attention='general' would do"),
        ({"max_output_length": 0}, "max_output_length must be a whole number of at least 1"),
    ):
        with pytest.raises(RnnZooError, match=message):
            task(about, **settings)
    with pytest.raises(RnnZooError, match="needs the tokenizer and the target_tokenizer"):
        SequenceToSequence(rnnzoo.Description(vocabulary=["a"]))


def test_the_decoder_may_be_another_cell_of_another_size(pairs):
    model = task(
        data(pairs).description, decoder_cell="lstm", decoder_size=9, decoder_layers=2, bidirectional=True, num_layers=1
    )
    assert model.model.decoder.hidden_size == 9
    assert model.model.decoder.num_layers == 2
    assert not model.model.decoder.bidirectional
    assert model.rnn is model.model.encoder
    assert model.report().startswith("gru, 1 x 12 units")


def test_where_it_looks_is_drawn_with_the_tokens_of_both_sides(pairs, tmp_path):
    from rnnzoo.training.attention_picture import draw_attention

    model = task(data(pairs).description)
    weights, source, target = model.attention_of("abc")
    assert source == ["a", "b", "c", "</s>"]
    assert target[-1] == "</s>"
    assert weights.shape == (len(target), 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(target)))
    draw_attention(weights, source, ["$x^2", *target[1:]], tmp_path / "attention.png")
    assert (tmp_path / "attention.png").read_bytes()[:4] == b"\x89PNG"
    assert task(data(pairs).description, attention=None).attention_of("abc") is None


def test_fine_tuning_keeps_both_tokenizers_and_all_weights(pairs, tmp_path):
    module = data(pairs)
    model = task(module.description)
    trainer = fit(model, module, tmp_path)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    other = tmp_path / "other.tsv"
    other.write_text("\n".join(["word\tturned", *(f"{a}{b}z\tz {b} {a}" for a in LETTERS for b in LETTERS)]) + "\n")
    again = data(str(other), pretrained=str(path))
    assert again.description.vocabulary == module.description.vocabulary
    assert again.description.target_vocabulary == module.description.target_vocabulary
    tuned = task(again.description, pretrained=str(path))
    for name, weight in tuned.state_dict().items():
        if name.startswith("model."):
            assert torch.equal(weight, model.state_dict()[name]), name


@pytest.mark.parametrize("cell", ["mingru", "ltc", "s4d"])
def test_other_cells_train_and_write(pairs, tmp_path, cell):
    module = data(pairs, batch_size=64)
    model = task(module.description, cell=cell)
    fit(model, module, tmp_path, max_epochs=1, limit_train_batches=2)
    assert len(model.predict(["abc"])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"attention": "bahdanau"}, {"copying": True, "attention": "dot"}], ids=str)
def test_it_learns_to_turn_words_around(pairs, tmp_path, options):
    module = data(pairs)
    model = task(module.description, hidden_size=48, learning_rate=1e-2, **options)
    trainer = fit(model, module, tmp_path, max_epochs=25)
    (figures,) = trainer.test(model, module, verbose=False)
    assert figures["test_accuracy"] > 0.9
    assert model.predict(["abcd"])["prediction"].tolist() == ["d c b a"]
