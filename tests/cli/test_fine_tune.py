"""`rnnzoo fit --model.pretrained`: a trained model goes on with another data set and another alphabet."""

import re

import torch
from command_line import TINY_LM, make_text
from datasets import Dataset

NEW, GONE = "éß", "v"  # characters of the second text alone, and of the first alone


def other_folder(tmp_path):
    text = make_text(1600, seed=1).replace(GONE, "ß").replace("cat", "cét")
    Dataset.from_dict({"text": text.splitlines()}).save_to_disk(str(tmp_path / "other"))
    return tmp_path / "other"


def test_what_is_new_is_said_and_weights_of_known_characters_are_kept(zoo, lm_run, tmp_path, caplog):
    folder = other_folder(tmp_path)
    still = ["--model.learning_rate=1e-30", f"--model.pretrained={lm_run.checkpoint}"]  # trains, and changes nothing
    answer = zoo("fit", *TINY_LM, f"--data.dataset={folder}", *still)
    assert answer.status == 0, answer.err
    assert re.search(r"New in .*: 2 \('ß' 'é'\)\. Not seen there: 1 \('v'\)\.", caplog.text)
    before, after = (torch.load(p, weights_only=True) for p in (lm_run.checkpoint, tmp_path / answer.checkpoint))
    old, new = (content["hyper_parameters"]["description"]["vocabulary"] for content in (before, after))
    assert new[: len(old)] == old
    assert set(new) - set(old) == set(NEW)
    for name, weight in before["state_dict"].items():
        kept = after["state_dict"][name]
        assert torch.equal(kept[: len(old)] if kept.shape != weight.shape else kept, weight), name


def test_a_fine_tuned_model_can_be_tested_resumed_and_sampled(zoo, lm_run, tmp_path):
    folder = other_folder(tmp_path)
    given = ["fit", *TINY_LM, f"--data.dataset={folder}"]
    tuned = zoo(*given, f"--model.pretrained={lm_run.checkpoint}")
    assert tuned.status == 0, tuned.err
    assert zoo("test", "--ckpt_path", tuned.checkpoint, "--trainer.enable_progress_bar=false").status == 0
    assert zoo("generate", tuned.checkpoint, "--prompt", "a cét", "--length", 10).status == 0
    resumed = zoo(*given, "--ckpt_path", tuned.checkpoint, "--trainer.max_epochs=2")
    assert resumed.status == 0, resumed.err


def test_fine_tuning_may_take_another_learning_rate_but_not_another_size(zoo, lm_run, tmp_path):
    given = ["fit", *TINY_LM, f"--data.dataset={other_folder(tmp_path)}", f"--model.pretrained={lm_run.checkpoint}"]
    said = zoo(*given, "--model.hidden_size=24").complaint
    assert "model.pretrained" in said
    assert "hidden_size is 24 but the checkpoint has 16" in said


def test_sizes_come_from_the_pretrained_model_where_none_are_given(zoo, lm_run, tmp_path):
    sizes = ("--model.embedding_size", "--model.hidden_size")
    given = ["fit", *(a for a in TINY_LM if not a.startswith(sizes)), f"--data.dataset={other_folder(tmp_path)}"]
    answer = zoo(*given, f"--model.pretrained={lm_run.checkpoint}", "--trainer.limit_train_batches=2")
    assert answer.status == 0, answer.err
    assert "1 x 16 units" in answer.out


def test_a_checkpoint_to_go_on_from_and_one_to_start_from_cannot_both_be_given(zoo, lm_run, text_file):
    both = [f"--model.pretrained={lm_run.checkpoint}", f"--ckpt_path={lm_run.checkpoint}"]
    assert "are both given" in zoo("fit", *TINY_LM, f"--data.dataset={text_file}", *both).complaint
