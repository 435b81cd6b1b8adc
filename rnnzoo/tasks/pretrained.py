"""Weights of another checkpoint to start from: those that fit, token by token where they belong to tokens."""

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule

from rnnzoo.description import of_hyper_parameters
from rnnzoo.errors import RnnZooError
from rnnzoo.tasks.checkpoints import contents_of, read_checkpoint, task_name
from rnnzoo.training.messages import say

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task

OF_WEIGHTS = ("embedding_size",)  # settings beside those of the layers that weights of any task must agree in
_SHOWN = 6


def load_into(task: "Task", path: str) -> None:
    """Loads into `task` the weights of a checkpoint that it has by the same name and shape; says which it has not.

    Raises:
        RnnZooError: the checkpoint cannot be read, was made with other settings, or has nothing for this task.
    """
    content = read_checkpoint(path, "pretrained")
    with contents_of(f"pretrained {path!r}"):
        _take_weights(task, path, content)


def _take_weights(task: "Task", path: str, content: dict[str, Any]) -> None:
    from rnnzoo.tasks.base import contradictions

    saved = content["hyper_parameters"]
    mine: dict[str, Any] = {name: value for name, value in task.hparams.items() if name != "description"}
    if task_name(task) != content["rnnzoo"]["task"]:  # of another task the layers alone must be alike
        mine = {name: value for name, value in mine.items() if name in (*task.settings.values(), *OF_WEIGHTS)}
    wrong = contradictions(saved, mine, task.may_change | task.may_differ)
    if wrong:
        raise RnnZooError(f"pretrained {path!r} was made with other settings: {'; '.join(wrong)}")
    labels = [list(about.labels or ()) for about in (of_hyper_parameters(saved), task.description)]
    anew = set(task.by_label) if labels[0] != labels[1] else set()
    old, new = (list(v) if v else None for v in (of_hyper_parameters(saved).vocabulary, task.description.vocabulary))
    rows: tuple[torch.Tensor, torch.Tensor] | None = None
    if old is not None and new is not None:
        place = {token: row for row, token in enumerate(old)}
        pairs = [(row, place[token]) for row, token in enumerate(new) if token in place]
        if not pairs:
            what = "character" if all(len(token) == 1 for token in new) else "token"
            raise RnnZooError(f"pretrained {path!r} shares no {what} with this text")
        to, of = (torch.tensor(side) for side in zip(*pairs, strict=True))
        rows = to, of
    state, loaded = task.state_dict(), set()
    own = {_without_parametrization(name): name for name in state}
    for saved_name, tensor in content["state_dict"].items():
        name = own.get(_without_parametrization(saved_name), saved_name)
        if name in anew:
            continue
        if name in task.by_token and name in state and (old != new or state[name].shape != tensor.shape):
            if rows is not None and state[name].shape[1:] == tensor.shape[1:]:
                new_rows = tensor.mean(0).expand_as(state[name]).clone()  # of a token that it did not know
                new_rows[rows[0]] = tensor[rows[1]]
                state[name] = new_rows
                loaded.add(name)
        elif name in state and state[name].shape == tensor.shape:
            state[name] = tensor
            loaded.add(name)
    _load(task, state, loaded, path, content)
    if rows is not None and len(rows[0]) < len(new or ()) and loaded & set(task.by_token):
        say(f"pretrained: {path} knows {len(rows[0]):,} of {len(new or ()):,} tokens; the others start at their mean")


def _without_parametrization(name: str) -> str:
    """The name of a weight, whether it is dropped, or derived in another way, or not."""
    return name.replace(".parametrizations.", ".").removesuffix(".original")


def load_matching(module: LightningModule, path: str) -> None:
    """As `load_into`, for a LightningModule that is no Task: what has the same name and shape.

    Raises:
        RnnZooError: the checkpoint cannot be read, or has nothing for this module.
    """
    content = read_checkpoint(path, "pretrained")
    with contents_of(f"pretrained {path!r}"):
        state = module.state_dict()
        fits = {n: w for n, w in content["state_dict"].items() if n in state and state[n].shape == w.shape}
        _load(module, {**state, **fits}, set(fits), path, content)


def _load(
    module: LightningModule, state: dict[str, torch.Tensor], loaded: set[str], path: str, content: dict[str, Any]
) -> None:
    left = [name for name, _ in module.named_parameters() if name not in loaded]
    if len(left) == len(list(module.parameters())):
        whose = content["rnnzoo"]["task"]
        raise RnnZooError(f"pretrained {path!r}, a {whose}, has no weights for a {task_name(module)}")
    module.load_state_dict(state)
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        say(f"pretrained: {path} has nothing for {', '.join(left[:_SHOWN])}{more}, which start anew")
