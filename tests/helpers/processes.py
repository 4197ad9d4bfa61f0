"""Start processes that train together, on this machine, as a launcher would."""

import os
import socket
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("training_process.py")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(rank, world, port, **more):
    """What torchrun sets for a process; one thread each, so that they do not fight for the processors."""
    launch = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    paths = [str(WORKER.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    launch |= {"OMP_NUM_THREADS": 1, "PYTHONPATH": os.pathsep.join(paths), **more}
    return {**os.environ, **{key: str(value) for key, value in launch.items()}}


def start(world, *command, environment_of=environment, **options):
    """Start `world` processes of one command, their output piped as text."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=environment_of(rank, world, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        for rank in range(world)
    ]


def finish(processes, timeout=900):
    """Exit codes and outputs of processes, which are killed if they do not end by themselves."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs
