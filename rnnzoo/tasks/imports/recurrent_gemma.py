"""RecurrentGemma (De et al. 2024) of transformers without its attention: blocks around our cell `rg_lru`."""

from collections.abc import Sequence
from pathlib import Path

import torch

from rnnzoo.errors import RnnZooError
from rnnzoo.models.blocks import BlockStack, GriffinBlock
from rnnzoo.tasks.imports.imported import Imported
from rnnzoo.tasks.imports.layers import put, put_head, put_product, untied_head
from rnnzoo.tasks.imports.transformers import describe, read_saved
from rnnzoo.tasks.language_modeling import LanguageModel


def read_recurrent_gemma(paths: Sequence[Path]) -> Imported:
    """A language model without attention; its embeddings are scaled there, so that they are not tied to the head here.

    Args:
        paths: a folder that ``save_pretrained`` wrote, with ``tokenizer.json``.

    Raises:
        RnnZooError: it is of another model, has attention layers, or another activation.
    """
    saved = read_saved(paths, "recurrent_gemma")
    name, weights, config = saved.name, saved.weights, saved.config
    blocks = config.get("block_types", ("recurrent", "recurrent", "attention"))
    layers = weights.count("model.layers.{}.temporal_pre_norm.weight")
    if attention := [k for k in range(layers) if f"model.layers.{k}.temporal_block.q_proj.weight" in weights]:
        raise RnnZooError(
            f"{name!r} has attention in {len(attention)} of its {layers} layers (block_types {list(blocks)}), and here"
            " are recurrent layers alone: only a model whose blocks are all 'recurrent' can be imported"
        )
    if (activation := config.get("hidden_activation", "gelu_pytorch_tanh")) != "gelu_pytorch_tanh":
        raise RnnZooError(f"{name!r} has hidden_activation {activation!r}, where our blocks have gelu_pytorch_tanh")
    embedding = weights.take("model.embed_tokens.weight", None, None)
    if not layers:
        raise RnnZooError(f"{name!r} is no model of recurrent_gemma: it has no 'model.layers.0.temporal_pre_norm'")
    tokens, size = embedding.shape
    first = "model.layers.0.temporal_block"
    heads, width, _ = weights.look(f"{first}.rg_lru.recurrent_gate_weight", None, None, None).shape
    inner = heads * width
    model = LanguageModel(
        describe(saved, tokens, "recurrent_gemma"),
        cell="rg_lru",
        cell_args={"heads": heads},
        embedding_size=size,
        hidden_size=inner,
        num_layers=layers,
        block="griffin",
        block_args={
            "width": weights.look(f"{first}.conv_1d.weight", None, 1, None).shape[-1],
            "mlp_size": weights.look("model.layers.0.mlp_block.up_proj.weight", None, size).shape[0],
            "eps": float(config.get("rms_norm_eps", 1e-6)),
        },
        logit_cap=float(config.get("logits_soft_cap", 30.0)),
    )
    # the scale is rounded there as well
    put(model.model.embedding.weight, embedding * torch.tensor(size**0.5, dtype=torch.bfloat16).float())
    stack = model.model.rnn
    assert isinstance(stack, BlockStack)
    for k, block in enumerate(stack._blocks):
        assert isinstance(block, GriffinBlock)
        layer = f"model.layers.{k}"
        temporal, cell = f"{layer}.temporal_block", block.rnn._cells[0][0]
        put(block.norm.weight, 1 + weights.take(f"{layer}.temporal_pre_norm.weight", size))
        put_product(block.expand, weights, f"{temporal}.linear_x", f"{temporal}.linear_y")
        put_product(block.convolution, weights, f"{temporal}.conv_1d")
        put_product(block.contract, weights, f"{temporal}.linear_out")
        put(cell.Lambda, -weights.take(f"{temporal}.rg_lru.recurrent_param", inner))
        for row, gate in enumerate(("recurrent", "input")):
            matrices = weights.take(f"{temporal}.rg_lru.{gate}_gate_weight", heads, width, width)
            put(cell.weight_gates[row], matrices.transpose(1, 2))
            put(cell.bias_gates[row], weights.take(f"{temporal}.rg_lru.{gate}_gate_bias", heads, width).flatten())
        put(block.mlp_norm.weight, 1 + weights.take(f"{layer}.channel_pre_norm.weight", size))
        put_product(block.up, weights, f"{layer}.mlp_block.up_proj", f"{layer}.mlp_block.gate_proj")
        put_product(block.down, weights, f"{layer}.mlp_block.down_proj")
    put(stack.norm.weight, 1 + weights.take("model.final_norm.weight", size))
    head = untied_head(weights, "lm_head.weight", embedding)
    put_head(model, embedding if head is None else head)
    weights.done()
    lines = [
        f"recurrent_gemma: {layers} blocks of {size} features around rg_lru of {inner} units in {heads} heads,"
        f" {tokens:,} tokens"
    ]
    return Imported(model, lines)
