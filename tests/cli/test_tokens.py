"""Language models over tokens by the command line: the shipped configs, other data, other tokenizers, and text."""

import pytest
from command_line import CONFIGS, make_text

SMALL = {
    "word_lm": ["--model.embedding_size=16", "--model.hidden_size=16", "--model.adaptive_softmax=[5]"],
    "bpe_lm": ["--model.embedding_size=16", "--model.hidden_size=16", "--model.adaptive_softmax=[50]",
               "--data.vocabulary_size=280"],
    "awd_lstm": ["--model.embedding_size=12", "--model.hidden_size=[16,16,12]", "--model.learning_rate=1.0"],
}  # fmt: skip


def small(config, text_file, *more):
    given = [f"--config={CONFIGS / config}.yaml", *SMALL[config], f"--data.dataset={text_file}"]
    given += ["--data.batch_size=4", "--data.sequence_length=16", "--trainer.max_epochs=1"]
    return ["fit", *given, "--trainer.enable_progress_bar=false", *more]


@pytest.fixture
def word_run(zoo, text_file):
    answer = zoo(*small("word_lm", text_file, "--data.baseline=true"))
    assert answer.status == 0, answer.err
    return answer


@pytest.mark.parametrize("config", SMALL)
def test_every_config_trains_on_ones_own_text(zoo, text_file, config):
    answer = zoo(*small(config, text_file))
    assert answer.status == 0, answer.err
    assert "held-out perplexity: " in answer.out
    assert "held-out bits per character: " in answer.out
    assert "Kneser-Ney" not in answer.out


def test_the_baseline_stands_beside_and_the_checkpoint_alone_evaluates_predicts_and_writes(zoo, word_run, tmp_path):
    lines = word_run.out.splitlines()
    beside = next(k for k, line in enumerate(lines) if line.startswith("modified Kneser-Ney trigram: perplexity: "))
    assert lines[beside - 2].startswith("held-out perplexity: ")
    assert 2 < float(lines[beside].split()[-1]) < 30  # of 16 words that were drawn at random
    tested = zoo("test", "--ckpt_path", word_run.checkpoint)
    assert lines[beside - 2].split()[-1] == tested.out.split("test_perplexity ")[1].split()[0]
    told = zoo("predict", "--ckpt_path", word_run.checkpoint, "--predictions.path", "p.csv")
    assert told.status == 0, told.err
    assert (tmp_path / "p.csv").read_text().startswith('"position","token","log_prob"\n1,')
    given = ["--prompt", "the cat", "--length", 40, "--seed", 3]
    written = zoo("generate", word_run.checkpoint, *given).out
    assert written.startswith("the cat")
    assert len(written.split()) > 6
    stopped = zoo("generate", word_run.checkpoint, *given, "--stop", written[12:15]).out
    assert stopped == f"{written[: written.index(written[12:15], len('the cat'))]}\n"
    assert zoo("generate", word_run.checkpoint, "--length", 3).status == 0  # its own words, where it knows no others


def test_other_data_are_read_by_the_tokenizer_of_the_checkpoint(zoo, word_run, tmp_path):
    (tmp_path / "other.txt").write_text(make_text(400, seed=5) + "an unheard word\n" * 30)
    answer = zoo("test", "--ckpt_path", word_run.checkpoint, "--data.dataset=other.txt")
    assert answer.status == 0, answer.err
    assert "test_bpc " in answer.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data.tokenizer=bpe"], "data.tokenizer 'bpe' does not fit the checkpoint"),
        (["--data.tokenizer=wrods"], "tokenizer 'wrods' is unknown; did you mean 'words'?"),
        (["--model.tied=true"], "tied is True but the checkpoint has False"),
    ],
)
def test_what_does_not_fit_a_checkpoint_is_a_line(zoo, word_run, given, said):
    assert said in zoo("test", "--ckpt_path", word_run.checkpoint, *given).complaint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data.dataset=numbers.csv", "--data.text_column=count"], "must hold text, but its type is int64"),
        (["--data.dataset=one.txt"], "too few, split leaves none for"),
        (["--data.dataset=nobody/nothing"], "is no file or folder here"),
        (["--data.tokenizer=words.json"], "tokenizer 'words.json'"),
        (["--model.adaptive_softmax=[9000]"], "must rise from 1 at least"),
    ],
)
def test_bad_data_are_a_line_and_leave_nothing(zoo, text_file, tmp_path, given, said):
    (tmp_path / "numbers.csv").write_text("count,size\n" + "1,2\n" * 40)
    (tmp_path / "one.txt").write_text("a line\n")
    complaint = zoo(*small("word_lm", text_file, *given)).complaint
    assert said in complaint
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").rglob("*.ckpt"))


def test_a_run_goes_on_from_its_last_checkpoint_as_if_it_had_not_stopped(zoo, text_file):
    given = ["--model.schedule=constant", "--model.dropout=0"]
    first = zoo(*small("word_lm", text_file, *given))
    again = zoo("fit", "--ckpt_path", first.checkpoint.with_name("last.ckpt"), "--trainer.max_epochs=2")
    straight = zoo(*small("word_lm", text_file, *given, "--trainer.max_epochs=2"))
    assert (again.status, straight.status) == (0, 0), again.err
    figures = [[line for line in one.out.splitlines() if line.startswith("held-out")] for one in (again, straight)]
    assert figures[0] == figures[1]
