"""Small random models of transformers, made here, answer as checkpoints of ours what they answer there."""

import json
import shutil

import pytest
import torch

from rnnzoo import RnnZooError, load
from rnnzoo.data.tokenizers import train
from rnnzoo.tasks.imports import import_model, write_checkpoint

pytestmark = pytest.mark.usefixtures("nothing_compiled")

transformers = pytest.importorskip("transformers")
TOKENS = 280
TEXTS = ["In the beginning God created the heaven and the earth."] * 3


def saved(model, folder, **how):
    """A model and a tokenizer of fewer tokens than it has embeddings, as users save them."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "A_log" not in name:
            torch.nn.init.uniform_(parameter, -0.5, 0.5)
    model.eval().save_pretrained(folder, **how)
    tokenizer = train("bpe", TEXTS, 266)
    assert len(tokenizer) < TOKENS
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend).save_pretrained(folder)
    return model


def mamba(folder, **changes):
    sizes = {"vocab_size": TOKENS, "hidden_size": 20, "state_size": 5, "num_hidden_layers": 3, "conv_kernel": 3}
    config = transformers.MambaConfig(**{**sizes, "time_step_rank": 4, "layer_norm_epsilon": 1e-3, **changes})
    return saved(transformers.MambaForCausalLM(config), folder)


def recurrent_gemma(folder, **changes):
    sizes = {"vocab_size": TOKENS, "hidden_size": 20, "lru_width": 24, "num_attention_heads": 4, "conv1d_width": 3}
    sizes |= {"num_hidden_layers": 3, "intermediate_size": 60, "logits_soft_cap": 1.5, "rms_norm_eps": 1e-4}
    config = transformers.RecurrentGemmaConfig(**{**sizes, "block_types": ["recurrent"], **changes})
    return saved(transformers.RecurrentGemmaForCausalLM(config), folder)


def check(kind, theirs, folder):
    """The same logits to 1e-5, all at once and step by step."""
    ours = import_model(kind, [folder]).task.eval()
    tokens = torch.randint(0, TOKENS, (2, 11))
    with torch.no_grad():
        logits, _ = ours(tokens)
        torch.testing.assert_close(logits, theirs(tokens, use_cache=False).logits, rtol=0, atol=1e-5)
        hx = None
        for t in range(tokens.shape[1]):
            step, hx = ours.model.step(tokens[:, t], hx, t)
            torch.testing.assert_close(step, logits[:, t], rtol=0, atol=1e-5)
    return ours


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_mamba_is_blocks_around_s6(tmp_path, tied, bias):
    theirs = mamba(tmp_path, tie_word_embeddings=tied, use_bias=bias, use_conv_bias=not bias)
    ours = check("mamba", theirs, tmp_path)
    assert (ours.model.head.weight is ours.model.embedding.weight) == tied
    assert ours.report().startswith("s6, 3 x 40 units, ")


def test_recurrent_gemma_without_attention_is_blocks_around_rg_lru(tmp_path):
    check("recurrent_gemma", recurrent_gemma(tmp_path), tmp_path)


def test_recurrent_gemma_with_attention_is_refused_with_the_reason(tmp_path):
    recurrent_gemma(tmp_path, block_types=["recurrent", "recurrent", "attention"])
    with pytest.raises(RnnZooError, match="has attention in 1 of its 3 layers") as error:
        import_model("recurrent_gemma", [tmp_path])
    assert "only a model whose blocks are all 'recurrent' can be imported" in str(error.value)


def test_weights_in_several_files_and_pickled_ones_are_read(tmp_path):
    theirs = mamba(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "several", max_shard_size="20KB")
    (tmp_path / "pickled").mkdir()
    torch.save(theirs.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    for folder in ("several", "pickled"):
        for name in ("config.json", "tokenizer.json"):
            shutil.copy(tmp_path / "one" / name, tmp_path / folder / name)
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 1
    one = import_model("mamba", [tmp_path / "one"]).task.state_dict()
    several = import_model("mamba", [tmp_path / "several"]).task.state_dict()
    assert all(torch.equal(one[name], several[name]) for name in one)
    # where a state_dict names the tied head as well
    pickled = import_model("mamba", [tmp_path / "pickled"]).task.state_dict()
    assert all(torch.equal(one[name], pickled[name]) for name in one)


def test_the_checkpoint_has_the_models_tokenizer_and_names_for_the_tokens_beyond_it(tmp_path):
    mamba(tmp_path / "mamba")
    given = import_model("mamba", [tmp_path / "mamba"])
    write_checkpoint(given, "mamba", tmp_path / "mamba.ckpt")
    model = load(tmp_path / "mamba.ckpt")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "mamba")
    text = "the earth, and God é"
    (ids,) = model.text.tokenizer.encode([text])
    assert ids == theirs(text, add_special_tokens=False)["input_ids"]
    assert model.text.tokenizer.decode(ids) == text
    assert len(model.text.tokenizer) == TOKENS
    assert model.text.tokenizer.vocabulary[-1].startswith("<unused")
    with torch.no_grad():
        assert torch.equal(model(torch.tensor([ids]))[0], given.task.eval()(torch.tensor([ids]))[0])


def spoilt(name, change):
    def spoil(folder):
        path = folder / name
        change(path)

    return spoil


def _set(**settings):
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            spoilt("config.json", lambda path: path.write_text("{")),
            "config.json' cannot be read: truncated, or no JSON",
        ),
        (spoilt("config.json", lambda path: path.write_text("[1]")), "must hold a dictionary of settings"),
        (spoilt("config.json", lambda path: path.unlink()), "config.json' does not exist"),
        (spoilt("config.json", _set(model_type="mamba2")), "is a model of type 'mamba2', not 'mamba'"),
        (spoilt("config.json", _set(hidden_act="gelu")), "has hidden_act 'gelu'"),
        (spoilt("tokenizer.json", lambda path: path.unlink()), "has no tokenizer.json: write one there by"),
        (spoilt("model.safetensors", lambda path: path.unlink()), "has no weights: neither model.safetensors nor"),
        (
            spoilt("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-50])),
            "model.safetensors' cannot be read: truncated, or no safetensors file",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(tmp_path, spoil, says):
    mamba(tmp_path)
    spoil(tmp_path)
    with pytest.raises(RnnZooError) as error:
        import_model("mamba", [tmp_path])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_path_that_is_no_folder_is_one_line(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(RnnZooError, match="is no folder; mamba takes a folder that save_pretrained"):
        import_model("mamba", [tmp_path / "a"])
    with pytest.raises(RnnZooError, match="does not exist; mamba takes a folder"):
        import_model("mamba", [tmp_path / "b"])


def test_a_tokenizer_of_more_tokens_than_embeddings_is_one_line(tmp_path):
    mamba(tmp_path, vocab_size=TOKENS // 2)
    with pytest.raises(RnnZooError, match=f"has embeddings of {TOKENS // 2} tokens, but a tokenizer of"):
        import_model("mamba", [tmp_path])
