"""FSDP2: parameters, gradients and optimizer states that are shared out over processes, by Lightning's strategy."""

import inspect
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from rnnzoo.errors import RnnZooError


def shard(task: LightningModule) -> None:
    """Shares out what a task trains, where its trainer's strategy is Lightning's ``ModelParallelStrategy``.

    Each process keeps its share of the parameters, of their gradients and of what the optimizer keeps of each; the
    parameters are gathered for the time of a step (ZeRO's second stage, Rajbhandari et al. 2020). The recurrent layers
    run over all steps of a sequence at once, so that nothing is gained by gathering them one by one.

    Raises:
        RnnZooError: the task has parameters that are in none of its modules.
    """
    if task._trainer is None:  # Lightning asks where it loads a checkpoint, too
        return
    strategy = task.trainer.strategy
    if not isinstance(strategy, ModelParallelStrategy):
        return
    parts = [part for part in task.children() if any(True for _ in part.parameters())]
    if any(isinstance(part, FSDPModule) for part in parts):
        return  # Lightning asks again where a trainer tests what it has trained
    if beside := [name for name, _ in task.named_parameters(recurse=False)]:
        raise RnnZooError(f"ModelParallelStrategy shares out modules, and {beside} of {type(task).__name__} is in none")
    # not the strategy's own mesh, by which each tensor is cut into as many pieces as a machine has devices
    mesh = init_device_mesh(strategy.root_device.type, (task.trainer.world_size,))
    for part in parts:
        methods = [n for n, f in inspect.getmembers(type(part), inspect.isfunction) if _is_own(n, f)]
        fully_shard(part, mesh=mesh, reshard_after_forward=False)
        for name in methods:  # a task calls other methods than forward, too
            register_fsdp_forward_method(part, name)


def _is_own(name: str, function: Any) -> bool:
    """Whether a method is a module's own, and not one that every module has."""
    return not name.startswith("_") and name != "forward" and not hasattr(nn.Module, name) and callable(function)


def load_whole(module: LightningModule, states: Mapping[str, Any]) -> None:
    """Puts whole parameters, as a checkpoint has them, into a module whose own may be shared out."""
    own = module.state_dict()
    placed = {
        name: distribute_tensor(value, own[name].device_mesh, own[name].placements)
        if isinstance(own.get(name), DTensor)
        else value
        for name, value in states.items()
    }
    module.load_state_dict(placed, strict=module.strict_loading)
