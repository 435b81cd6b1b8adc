"""Mamba (Gu & Dao 2023) as transformers has it: blocks around our cell `s6`."""

from collections.abc import Sequence
from pathlib import Path

from rnnzoo.errors import RnnZooError
from rnnzoo.models.blocks import BlockStack
from rnnzoo.tasks.imports.imported import Imported
from rnnzoo.tasks.imports.layers import put, put_head, put_product, untied_head
from rnnzoo.tasks.imports.transformers import describe, read_saved
from rnnzoo.tasks.language_modeling import LanguageModel


def read_mamba(paths: Sequence[Path]) -> Imported:
    """A language model of Mamba's first version.

    Args:
        paths: a folder that ``save_pretrained`` wrote, with ``tokenizer.json``.

    Raises:
        RnnZooError: it is of another model, or of another activation than Mamba's.
    """
    saved = read_saved(paths, "mamba")
    name, weights = saved.name, saved.weights
    if (activation := saved.config.get("hidden_act", "silu")) not in ("silu", "swish"):
        raise RnnZooError(f"{name!r} has hidden_act {activation!r}, where our blocks of mamba have silu")
    embedding = weights.take("backbone.embeddings.weight", None, None)
    tokens, size = embedding.shape
    layers = weights.count("backbone.layers.{}.mixer.A_log")
    if not layers:
        raise RnnZooError(f"{name!r} is no model of mamba: it has no 'backbone.layers.0.mixer.A_log'")
    first, second = (
        weights.look(f"backbone.layers.0.mixer.{name}", None, None) for name in ("A_log", "dt_proj.weight")
    )
    (inner, state), rank = first.shape, second.shape[1]
    width = weights.look("backbone.layers.0.mixer.conv1d.weight", None, 1, None).shape[-1]
    bias = "backbone.layers.0.mixer.in_proj.bias" in weights
    head = untied_head(weights, "lm_head.weight", embedding)
    model = LanguageModel(
        describe(saved, tokens, "mamba"),
        cell="s6",
        cell_args={"state_size": state, "dt_rank": rank},
        embedding_size=size,
        hidden_size=inner,
        num_layers=layers,
        block="mamba",
        block_args={"width": width, "bias": bias, "eps": float(saved.config.get("layer_norm_epsilon", 1e-5))},
        tied=head is None,
    )
    put(model.model.embedding.weight, embedding)
    stack = model.model.rnn
    assert isinstance(stack, BlockStack)
    for k, block in enumerate(stack._blocks):
        layer = f"backbone.layers.{k}"
        put(block.norm.weight, weights.take(f"{layer}.norm.weight", size))
        put_product(block.expand, weights, f"{layer}.mixer.in_proj")
        put_product(block.convolution, weights, f"{layer}.mixer.conv1d")
        put_product(block.contract, weights, f"{layer}.mixer.out_proj")
        cell = block.rnn._cells[0][0]
        put(cell.weight_x, weights.take(f"{layer}.mixer.x_proj.weight", rank + 2 * state, inner))
        put(cell.weight_dt, weights.take(f"{layer}.mixer.dt_proj.weight", inner, rank))
        put(cell.bias_dt, weights.take(f"{layer}.mixer.dt_proj.bias", inner))
        put(cell.A_log, weights.take(f"{layer}.mixer.A_log", inner, state))
        put(cell.D, weights.take(f"{layer}.mixer.D", inner))
    put(stack.norm.weight, weights.take("backbone.norm_f.weight", size))
    put_head(model, head)
    weights.done()
    lines = [
        f"mamba: {layers} blocks of {size} features around s6 of {inner} units with {state} numbers of state each,"
        f" {tokens:,} tokens"
    ]
    return Imported(model, lines)
