"""Writes small random character models of stanza, in its format, and what stanza computes with them.

By stanza 1.15.0 in an environment of its own (pip install stanza):

    python tests/tasks/imports/make_stanza.py
"""

from pathlib import Path

import torch
from stanza.models.common.char_model import CharacterLanguageModelTrainer
from stanza.models.common.vocab import CharVocab

FILES = Path(__file__).parent / "files"
TEXT = "Šum lesa, a Ω zase.\n"  # with a character that the vocabulary lacks


def write(name, *, layers, hidden, embedding, forward=True, recurrent_dropout=0.0, training=False):
    """A model whose initial state is not 0, and its logits after each character of TEXT, from its end if backward."""
    vocab = {"char": CharVocab([list("Šum lesa zase, .\n")])}
    args = {"char_emb_dim": embedding, "char_hidden_dim": hidden, "char_num_layers": layers, "char_dropout": 0.1}
    args |= {"char_rec_dropout": recurrent_dropout, "char_unit_dropout": 1e-5, "lr0": 1.0, "momentum": 0.0}
    args |= {"weight_decay": 0.0, "anneal": 0.25, "patience": 1, "device": "cpu"}
    args["direction"] = "forward" if forward else "backward"
    trainer = CharacterLanguageModelTrainer.from_new_model(args, vocab)
    model = trainer.model
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.6, 0.6)
    model.eval()
    text = TEXT if forward else TEXT[::-1]
    ids = vocab["char"].map(list(text))
    with torch.no_grad():
        _, _, logits = model(torch.tensor(ids)[None], [len(ids)])
    (trainer if training else model).save(str(FILES / f"{name}.pt"))
    torch.save({"text": TEXT, "ids": ids, "logits": logits[0]}, FILES / f"{name}.logits.pt")


torch.manual_seed(2)
write("stanza_forward", layers=1, hidden=12, embedding=7)
write("stanza_deep", layers=2, hidden=9, embedding=5, recurrent_dropout=0.2)
write("stanza_backward", layers=1, hidden=8, embedding=6, forward=False, training=True)
