"""Pretrained models of others, as checkpoints of ours."""

from rnnzoo.tasks.imports.imported import Imported, import_model, write_checkpoint

# a function of the paths given, which answers an Imported
KINDS: dict[str, str] = {
    "fastai": "rnnzoo.tasks.imports.fastai:read_awd_lstm",
    "flair": "rnnzoo.tasks.imports.flair:read_language_model",
    "g2p_en": "rnnzoo.tasks.imports.g2p_en:read_g2p_en",
    "mamba": "rnnzoo.tasks.imports.mamba:read_mamba",
    "recurrent_gemma": "rnnzoo.tasks.imports.recurrent_gemma:read_recurrent_gemma",
    "stanza": "rnnzoo.tasks.imports.stanza:read_character_model",
}

PACKAGED = {"g2p_en": "g2p_en"}  # kinds whose model lies in the folder of a package

__all__ = ["KINDS", "PACKAGED", "Imported", "import_model", "write_checkpoint"]
