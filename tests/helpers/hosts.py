"""Machines of their own on this one: namespaces with an address and a name each, which all know, joined by a cable."""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress


def run(*words):
    subprocess.run(words, check=True, capture_output=True, text=True)


def refusal():
    """Why this machine cannot have others inside of it; empty where it can."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "needs the programs ip (iproute2) and unshare"
    name = f"iaat{os.getpid()}p"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "exec", name, "unshare", "--uts", "--mount", "true")
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    finally:
        with suppress(subprocess.CalledProcessError):
            run("ip", "netns", "del", name)
    return ""


class Host:
    """One machine; `names` is the file in which it looks up the others."""

    def __init__(self, number, names):
        self.names = names
        self.space = f"iaat{os.getpid()}h{number}"
        self.name, self.address, self.interface = f"host{number}", f"10.77.0.{number}", f"veth{number}"

    def command(self, *words):
        """The command that runs another one there."""
        inner = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'
        shell = ["unshare", "--uts", "--mount", "sh", "-c", inner, self.name, self.names, *words]
        return ["ip", "netns", "exec", self.space, *map(str, shell)]

    def kill(self):
        """End all processes there, as a machine that fails does."""
        inside = subprocess.run(["ip", "netns", "pids", self.space], check=True, capture_output=True, text=True)
        for number in inside.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)

    @property
    def environment(self):
        return {**os.environ, "GLOO_SOCKET_IFNAME": self.interface, "OMP_NUM_THREADS": "1"}


@contextmanager
def two_hosts(folder):
    """Two machines for as long as the context is open; `folder` is for their list of names."""
    names = folder / "hosts"
    hosts = [Host(number, names) for number in (1, 2)]
    names.write_text("127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in hosts))
    try:
        for host in hosts:
            run("ip", "netns", "add", host.space)
        ends = [(host.interface, "netns", host.space) for host in hosts]
        run("ip", "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        for host in hosts:
            run("ip", "-n", host.space, "addr", "add", f"{host.address}/24", "dev", host.interface)
            for link in ("lo", host.interface):
                run("ip", "-n", host.space, "link", "set", link, "up")
        yield hosts
    finally:
        for host in hosts:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", host.space)
