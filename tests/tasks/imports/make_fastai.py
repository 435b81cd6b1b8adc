"""Writes a small random AWD-LSTM of fastai, in its formats, and what fastai computes with it.

By fastai 2.8.12 in an environment of its own (pip install fastai):

    python tests/tasks/imports/make_fastai.py
"""

import json
import pickle
import tarfile
from pathlib import Path

import torch
from fastai.imports import defaults
from fastai.learner import save_model
from fastai.optimizer import Adam
from fastai.text.core import SpacyTokenizer
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
from fastai.text.models.core import get_language_model

FILES = Path(__file__).parent / "files"
WORDS = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj", "the", ",", ".", "king"]
WORDS += ["and", "of", "lord", "\n", "'s", "not"]


def model_of(sizes, bias=True):
    """A model with biases that are not 0."""
    config = {**awd_lstm_lm_config, **sizes, "out_bias": bias}
    model = get_language_model(AWD_LSTM, len(WORDS), config)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.6, 0.6)
    return model


def logits_of(model, name):
    """After each of some words, the id of padding among them."""
    ids = [2, 8, 9, 12, 1, 13, 0, 17, 1, 11]
    model.reset()
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor(ids)[None])[0][0]
    torch.save({"ids": ids, "logits": logits}, FILES / f"{name}.logits.pt")


torch.manual_seed(3)
tied = model_of({"emb_sz": 6, "n_hid": 11, "n_layers": 3})
save_model(FILES / "fastai_tied.pth", tied, None, with_opt=False)
logits_of(tied, "fastai_tied")
with (FILES / "fastai_words.pkl").open("wb") as file:
    pickle.dump(WORDS, file)
with tarfile.open(FILES / "fastai_tied.tgz", "w:gz") as archive:
    archive.add(FILES / "fastai_tied.pth", "lstm_fwd.pth")
    archive.add(FILES / "fastai_words.pkl", "itos_wt103.pkl")

trained = model_of({"emb_sz": 5, "n_hid": 8, "n_layers": 2}, bias=False)
opt = Adam(list(trained.parameters()), lr=1e-3)
trained(torch.tensor([[2, 9, 12]]))[0].sum().backward()
opt.step()
save_model(FILES / "fastai_trained.pth", trained, opt, with_opt=True)
logits_of(trained, "fastai_trained")


# what fastai makes of texts before it numbers them
TEXTS = [
    "In the beginning God created the heaven and the earth.",
    "And the LORD God said unto Cain, Where is Abel thy brother? And he said, I know not: Am I my brother's keeper?",
    "The king's men don't know; they couldn't have seen (or heard) 1,000 of them.",
    "He said: \"We'll go to Rome in 1911, and you're welcome!\"",
]
# replace_rep, which counts characters that are repeated, has no counterpart in rnnzoo
rules = [rule for rule in defaults.text_proc_rules if rule.__name__ != "replace_rep"]
made = []
for text in TEXTS:
    for rule in rules:
        text = rule(text)
    made.append(text.removeprefix("xxbos "))
tokens = [list(one) for one in SpacyTokenizer()(made)]
(FILES / "fastai_tokens.json").write_text(json.dumps({"texts": TEXTS, "tokens": tokens}, indent=1))
