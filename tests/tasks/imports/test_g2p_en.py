"""g2p-en's trained network as a task of ours: the same phones, and it can go on learning."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from rnnzoo import RnnZooError, load
from rnnzoo.data import TextPairData
from rnnzoo.tasks.imports.g2p_en import LETTERS, PHONES, g2p_en_model

# the package itself downloads what it wants when it is imported
_SPEC = importlib.util.find_spec("g2p_en")
FOLDER = Path(_SPEC.origin).parent if _SPEC and _SPEC.origin else Path("g2p_en is not installed")


def arrays():
    with np.load(FOLDER / "checkpoint20.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file}


def gru(x, h, w, side):
    """Cho et al. 2014, as cuDNN computes it, in numpy."""
    n = len(h)
    a = w[f"{side}_w_ih"] @ x + w[f"{side}_b_ih"]
    b = w[f"{side}_w_hh"] @ h + w[f"{side}_b_hh"]
    r, z = 1 / (1 + np.exp(-(a[:n] + b[:n]))), 1 / (1 + np.exp(-(a[n : 2 * n] + b[n : 2 * n])))
    return (1 - z) * np.tanh(a[2 * n :] + r * b[2 * n :]) + z * h


def theirs(word, w):
    """Phones that are written for a word, and the logits of every step: greedy, twenty at most."""
    h = np.zeros(w["enc_w_hh"].shape[1], np.float32)
    for letter in [*word, "</s>"]:
        h = gru(w["enc_emb"][LETTERS.index(letter) if letter in LETTERS else 1], h, w, "enc")
    x, phones, logits = w["dec_emb"][2], [], []
    for _ in range(20):
        h = gru(x, h, w, "dec")
        logits.append(w["fc_w"] @ h + w["fc_b"])
        best = int(logits[-1].argmax())
        if best == 3:
            break
        phones.append(best)
        x = w["dec_emb"][best]
    return phones, np.stack(logits)


@pytest.fixture(scope="module")
def words():
    """Two hundred words of the dictionary, and some that no dictionary has."""
    data = TextPairData("g2p_stress")
    known = sorted(set(data.rows("all")["source"][:]))
    own = [
        "rnnzoo",
        "activationist",
        "zzyx",
        "a",
        "w",
        "don't",
        "strengthlessnesses",
        "xyz-abc",
        "pneumonoultramicroscopic",
    ]
    return [*known[::631], *own]


def test_it_writes_what_the_package_writes(words):
    task, w = g2p_en_model(FOLDER), arrays()
    expected = [" ".join(PHONES[k] for k in theirs(word, w)[0]) for word in words]
    assert len(words) > 200
    assert task.predict(words)["prediction"].tolist() == expected
    task.max_output_length = 5
    assert task.predict(words[:40])["prediction"].tolist() == [" ".join(one.split()[:5]) for one in expected[:40]]


def test_its_logits_are_the_packages(words):
    task, w = g2p_en_model(FOLDER), arrays()
    for word in words[::40]:
        phones, logits = theirs(word, w)
        batch = task.batch_of(word)
        begun = torch.tensor([[2, *phones]])[:, : len(logits)]
        with torch.no_grad():
            ours = task(batch.source, begun, batch.lengths)[0]
        np.testing.assert_allclose(ours.numpy(), logits, rtol=1e-4, atol=1e-4)


def test_its_symbols_are_the_packages():
    text = (FOLDER / "g2p.py").read_text()
    listed = [
        part.strip(" '\n")
        for part in text.split("self.phonemes = [")[1].split("]\n")[0].replace("]", "").replace("+ [", ",").split(",")
    ]
    assert [part.strip('"') for part in listed if part] == PHONES
    assert len(PHONES) == len(arrays()["fc_b"]) == 74


def test_a_checkpoint_of_it_predicts_and_goes_on_learning_on_the_dictionary(tmp_path):
    task = g2p_en_model(FOLDER, learning_rate=1e-3, schedule="constant")
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        limit_val_batches=1,
        use_distributed_sampler=False,
        enable_checkpointing=False,
    )
    trainer.strategy.connect(task)
    path = tmp_path / "g2p_en.ckpt"
    trainer.save_checkpoint(path)
    again = load(path)
    assert again.predict(["cat", "CAT"])["prediction"].tolist() == ["K AE1 T"] * 2
    parts = {"train_split": "train[:2000]", "validation_split": "train[2000:2500]", "test_split": "train[2500:3000]"}
    data = TextPairData("g2p_stress", several_targets=True, batch_size=64, checkpoint=str(path), **parts)
    assert data.description.target_vocabulary == PHONES
    before = again.model.head.weight.clone()
    trainer.fit(again, data)
    assert not torch.equal(again.model.head.weight, before)
    assert trainer.callback_metrics["val_accuracy"] > 0.5


def test_other_files_are_one_line(tmp_path):
    whole = arrays()
    np.savez(tmp_path / "other.npz", enc_emb=whole["enc_emb"])
    np.savez(tmp_path / "narrow.npz", **{**whole, "fc_b": whole["fc_b"][:70]})
    np.savez(tmp_path / "code.npz", **{**whole, "fc_b": np.array([print], dtype=object)})
    content = (FOLDER / "checkpoint20.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, message in (
        ("other.npz", "is not g2p-en's network: it has no 'dec_emb'"),
        ("narrow.npz", r"has fc_b of shape \(70,\); g2p-en's has \(74,\)"),
        ("code.npz", "is not g2p-en's checkpoint20.npz, or is damaged"),
        ("cut.npz", "is not g2p-en's checkpoint20.npz, or is damaged"),
        ("empty.npz", "is not g2p-en's checkpoint20.npz, or is damaged"),
        ("none.npz", "there is no such file"),
    ):
        with pytest.raises(RnnZooError, match=message):
            g2p_en_model(tmp_path / name)
