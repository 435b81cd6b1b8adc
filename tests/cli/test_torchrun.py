"""Two nodes of one process each, by torchrun as a user starts them: one comes late, one is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from processes import ended, start_ranks
from test_exact_resume import assert_same_runs, run_of, text

pytestmark = pytest.mark.slow  # each process takes seconds to begin, and some begin twice

HOW = ["--trainer.devices=1", "--trainer.num_nodes=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp"]


def node(
    folder: Path, log: Path, *launch: str, args: list[str], within: Sequence[str] = (), **env: str
) -> subprocess.Popen[bytes]:
    """An agent of torchrun, which starts one process; `within` is a command that starts it."""
    command = [*within, sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *launch]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    given = ["-m", "rnnzoo", "fit", *args, *HOW]
    with log.open("wb") as file:
        return subprocess.Popen([*command, *given], cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(params=["localhost", "namespaces"])
def nodes(request):
    """The address of the first node, and for each of both how its agent is started, and with which environment."""
    if request.param == "localhost":
        yield "127.0.0.1", ([], {}), ([], {})
        return
    names = [f"rnnzoo{os.getpid()}n{k}" for k in range(2)]
    links = [f"rz{os.getpid() % 10**8}v{k}" for k in range(2)]
    steps = [f"netns add {name}" for name in names] + [f"link add {links[0]} type veth peer name {links[1]}"]
    for k, (name, link) in enumerate(zip(names, links, strict=True)):
        steps += [f"link set {link} netns {name}", f"-n {name} addr add 10.213.7.{k + 1}/24 dev {link}"]
        steps += [f"-n {name} link set {link} up", f"-n {name} link set lo up"]
    try:
        for step in steps:
            try:
                done = subprocess.run(["ip", *step.split()], capture_output=True, text=True, check=False)
            except OSError as error:
                pytest.skip(f"no network namespace can be made: {error}")
            if done.returncode:
                pytest.skip(f"no network namespace can be made: ip {step}: {done.stderr.strip()}")
        yield (
            "10.213.7.1",
            *((["ip", "netns", "exec", n], {"GLOO_SOCKET_IFNAME": v}) for n, v in zip(names, links, strict=True)),
        )
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def worker_of(agent: subprocess.Popen[bytes]) -> int:
    """The process that an agent has started."""
    return int(Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()[0])


def wait_for_checkpoint(folder: Path, *agents: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not list(folder.glob("runs/*/version_0/checkpoints/last.ckpt")):
        assert time.monotonic() < until, "no checkpoint within two minutes"
        assert all(agent.poll() is None for agent in agents), "an agent has ended"
        time.sleep(0.05)


def test_a_node_that_comes_late_is_waited_for_and_one_that_is_killed_goes_on(tmp_path, nodes):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    for folder in (straight, killed):
        folder.mkdir()
    args = [str(a) for a in text(tmp_path, "--trainer.max_epochs=12")]
    assert ended(*start_ranks(2, ["fit", *args], straight, tmp_path / "log")) == [0, 0]

    address, *two = nodes
    launch = ["--rdzv-backend=c10d", f"--rdzv-endpoint={address}:{free_port()}", "--rdzv-id=1", "--max-restarts=2"]
    # in a namespace the machine's name does not lead to its address there
    apart = [[f"--local-addr=10.213.7.{k}", f"--rdzv-conf=is_host={k % 2}"] for k in (1, 2)]
    local = apart if two[0][0] else [[], []]
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    agents = []
    for log, (within, env), own in zip(logs, two, local, strict=True):
        agents.append(node(killed, log, *launch, *own, args=[*args, "--resume"], within=within, **env))
        time.sleep(4)
    first, second = agents
    wait_for_checkpoint(killed, first, second)
    os.kill(worker_of(second), signal.SIGKILL)
    assert (first.wait(240), second.wait(240)) == (0, 0), [log.read_text()[-2000:] for log in logs]
    printed = "".join(log.read_text() for log in logs)
    assert "goes on from" in printed
    assert_same_runs(run_of(straight), run_of(killed))


def test_without_restarts_a_lost_node_ends_the_other_with_a_word(tmp_path):
    args = [str(a) for a in text(tmp_path, "--trainer.max_epochs=200")]
    port = free_port()
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    both = [
        node(tmp_path, log, f"--node_rank={k}", "--master_addr=127.0.0.1", f"--master_port={port}", args=args)
        for k, log in enumerate(logs)
    ]
    wait_for_checkpoint(tmp_path, *both)
    os.kill(worker_of(both[1]), signal.SIGKILL)
    assert all(agent.wait(120) != 0 for agent in both)
    said = [line for line in logs[0].read_text().splitlines() if line.startswith("rnnzoo: error: ")]
    assert len(said) == 1, logs[0].read_text()[-3000:]
    assert "another process of this training has gone, and none can go on without it" in said[0]
    assert "checkpoints/last.ckpt holds what was done: --resume goes on from there" in said[0]
