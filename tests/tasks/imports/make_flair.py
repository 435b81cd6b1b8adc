"""Writes small random language models of flair, in its format, and what flair computes with them.

By flair 0.15.1 in an environment of its own (pip install flair; without torchvision):

    python tests/tasks/imports/make_flair.py
"""

from pathlib import Path

import torch
from flair.data import Dictionary
from flair.models.language_model import LanguageModel
from torch.optim import SGD

FILES = Path(__file__).parent / "files"
TEXT = "Ein Fuß, ein Šatten; in Ω\n"  # with characters that the dictionary lacks


def dictionary():
    """As flair makes one of a text, with <unk> as its first item."""
    made = Dictionary()
    for character in "Eein Fußatz,;\né":
        made.add_item(character)
    return made


def write(name, **settings):
    """A model with biases that are not 0, and its logits after each character of TEXT, reversed for a backward one."""
    model = LanguageModel(dictionary(), **settings, dropout=0.1)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.6, 0.6)
    model.eval()
    text = TEXT if model.is_forward_lm else TEXT[::-1]
    ids = model.dictionary.get_idx_for_items(list(text))
    with torch.no_grad():
        logits, _, _ = model(torch.tensor(ids)[:, None], model.init_hidden(1))
    model.save(FILES / f"{name}.pt")
    torch.save({"text": TEXT, "ids": ids, "logits": logits[:, 0]}, FILES / f"{name}.logits.pt")
    return model


torch.manual_seed(1)
write("flair_forward", is_forward_lm=True, hidden_size=13, nlayers=1, embedding_size=7)
write("flair_projected", is_forward_lm=True, hidden_size=11, nlayers=2, embedding_size=6, nout=5)
write("flair_gru", is_forward_lm=True, hidden_size=9, nlayers=1, embedding_size=4, recurrent_type="GRU")
backward = write("flair_backward", is_forward_lm=False, hidden_size=10, nlayers=1, embedding_size=5)
backward.save_checkpoint(FILES / "flair_training.pt", SGD(backward.parameters(), lr=1.0), 3, 2, 1.5)
