"""`rnnzoo generate`: text a character at a time, at a cost that does not grow."""

import pytest

from rnnzoo.models import TokenModel


def generated(zoo, run, *args):
    answer = zoo("generate", run.checkpoint, "--prompt", "the cat", *args)
    assert answer.status == 0, answer.err
    return answer.out


def test_it_prints_the_prompt_and_as_many_characters_as_asked_for(zoo, lm_run):
    out = generated(zoo, lm_run, "--length", 50)
    assert out.startswith("the cat")
    assert len(out) == len("the cat") + 50 + len("\n")


def test_the_same_seed_gives_the_same_text_and_another_seed_another(zoo, lm_run):
    first, again, other = (generated(zoo, lm_run, "--length", 60, "--seed", seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_temperature_and_top_p_reach_the_sampling(zoo, lm_run):
    surest = {generated(zoo, lm_run, "--length", 40, "--temperature", 0.001, "--seed", s) for s in range(3)}
    top = {generated(zoo, lm_run, "--length", 40, "--top-p", 1e-6, "--seed", s) for s in range(3)}
    assert surest == top
    assert len(top) == 1


def test_top_k_of_one_temperature_zero_and_a_beam_of_one_write_the_likeliest(zoo, lm_run):
    greedy = generated(zoo, lm_run, "--length", 30, "--temperature", 0)
    assert generated(zoo, lm_run, "--length", 30, "--top_k", 1) == greedy
    assert generated(zoo, lm_run, "--length", 30, "--beam", 1) == greedy
    assert generated(zoo, lm_run, "--length", 30, "--temperature", 1) != greedy


def test_a_text_ends_before_the_first_string_to_stop_at(zoo, lm_run):
    whole = generated(zoo, lm_run, "--length", 60)
    made = whole.removeprefix("the cat")
    stops = made[20:23], made[10:12]
    ends = min(made.index(stop) for stop in stops)
    out = generated(zoo, lm_run, "--length", 60, "--stop", stops[0], "--stop", stops[1])
    assert out == f"the cat{made[:ends]}\n"


def test_several_prompts_are_gone_on_with_side_by_side_and_each_as_if_it_were_alone(zoo, lm_run):
    alone = [zoo("generate", lm_run.checkpoint, "--prompt", p, "--length", 25).out for p in ("the cat", "a dog ran")]
    both = zoo("generate", lm_run.checkpoint, "--prompt", "the cat", "--prompt", "a dog ran", "--length", 25)
    assert both.out == "".join(alone)


def test_each_character_costs_one_step_and_the_prompt_is_read_once(zoo, lm_run, monkeypatch):
    calls = []
    whole, step = TokenModel.forward, TokenModel.step

    def count_whole(self, tokens, *more):
        calls.append(("forward", tuple(tokens.shape)))
        return whole(self, tokens, *more)

    def count_step(self, token, *more):
        calls.append(("step", tuple(token.shape)))
        return step(self, token, *more)

    monkeypatch.setattr(TokenModel, "forward", count_whole)
    monkeypatch.setattr(TokenModel, "step", count_step)
    generated(zoo, lm_run, "--length", 30)
    assert calls == [("forward", (1, len("the cat")))] + [("step", (1,))] * 29


def test_characters_are_printed_as_they_are_made(zoo, lm_run, monkeypatch):
    made, shown = [], []
    step = TokenModel.step

    def count(self, token, *more):
        made.append(token)
        return step(self, token, *more)

    class Screen:
        def write(self, text):
            shown.append((len(made), text))

        def flush(self):
            shown.append((len(made), None))

    monkeypatch.setattr(TokenModel, "step", count)
    monkeypatch.setattr("sys.stdout", Screen())
    zoo("generate", lm_run.checkpoint, "--prompt", "the", "--length", 5)
    monkeypatch.undo()
    assert [k for k, text in shown if text is None] == [0, 0, 1, 2, 3, 4, 4]  # the prompt, each character, the end


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--prompt", ""], "prompt is empty"),
        (["--length", "0"], "length must be at least 1, not 0"),
        (["--length", "-3"], "length must be at least 1, not -3"),
        (["--length", "many"], "argument --length: invalid int value: 'many'"),
        (["--temperature", "-0.5"], "temperature must be 0, for the likeliest, or more, not -0.5"),
        (["--temperature", "nan"], "temperature must be 0, for the likeliest, or more, not nan"),
        (["--top-k", "0"], "top_k must be at least 1, not 0"),
        (["--beam", "0"], "beam must be at least 1, not 0"),
        (["--beam", "2", "--top-p", "0.5"], "top_p=0.5 has no effect beside beam=2, which takes the likeliest"),
        (["--stop", ""], "stop is an empty string, which every text has; leave it out"),
        (["--top-p", "0"], "top_p must be in (0, 1], not 0.0"),
        (["--top-p", "1.1"], "top_p must be in (0, 1], not 1.1"),
        (["--prompt", "the #1 café"], "prompt has 3 characters ('#' at 4, '1' at 5, 'é' at 10) not in the vocabulary"),
        (["--colour", "red"], "unknown option --colour"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(zoo, lm_run, wrong, said):
    answer = zoo("generate", lm_run.checkpoint, *wrong)
    assert said in answer.complaint
    assert answer.out == ""


def test_a_checkpoint_that_is_no_language_models_is_an_error(zoo, forecast_run):
    said = zoo("generate", forecast_run.checkpoint).complaint
    assert "holds a Forecaster, not a language model" in said


def test_without_a_prompt_it_begins_with_a_character_the_model_knows(zoo, lm_run):
    """The text of the run has no capital I, which the default prompt begins with."""
    answer = zoo("generate", lm_run.checkpoint, "--length", 5)
    assert answer.status == 0, answer.err
    assert answer.out.startswith("\n")
    assert len(answer.out) == 1 + 5 + 1


def test_the_checkpoint_may_be_given_as_to_the_other_commands(zoo, lm_run):
    given = ["--prompt", "the", "--length", 5, "--top_p", 0.5]
    assert (
        zoo("generate", "--ckpt_path", lm_run.checkpoint, *given).out == zoo("generate", lm_run.checkpoint, *given).out
    )
