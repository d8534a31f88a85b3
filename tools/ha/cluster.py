#!/usr/bin/env python3
"""Three PostgreSQL nodes with synchronous replication and automatic failover, on ports of the
loopback: Patroni decides who is primary, etcd holds what they agreed on.

    tools/ha/cluster.py start [--dir DIR]   make a cluster in a new directory; it is whole then
    tools/ha/cluster.py status DIR          who is what
    tools/ha/cluster.py url DIR             the store's URL, all nodes named
    tools/ha/cluster.py kill-primary DIR    as if its machine lost power: PostgreSQL, Patroni, etcd
    tools/ha/cluster.py start-dead DIR      start the nodes that are down, wait until all is whole
    tools/ha/cluster.py stop DIR            end it and remove the directory

Needs Debian's postgresql-15, patroni, etcd-server and python3-etcd. The services that these
packages bring are neither used nor touched. Run by root, everything runs as nobody.
"""

import argparse
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
NODES = ("n1", "n2", "n3")
PORTS = ("postgres", "patroni", "etcd", "etcd_peer")
WHOLE_SECONDS = 180  # to be whole again: a node that has to be copied anew takes longest


class Failed(Exception):
    pass


def postgres_programs():
    """The newest version's folder, as Debian has them."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                   key=lambda path: int(path.parts[-3]))
    if not found:
        raise Failed("there is no PostgreSQL server here: apt-get install postgresql")
    return found[-1].parent


def as_unprivileged(words):
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return words
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *words]


def free_ports(count):
    """Below those that connections go out from, so that a node that was down finds its own free."""
    ports = set()
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.add(port)
    return sorted(ports)


class Cluster:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.state = json.loads((self.path / "cluster.json").read_text())
        self.ports = self.state["ports"]

    @staticmethod
    def create(path=None):
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        path = pathlib.Path(path or tempfile.mkdtemp(prefix="holdfast-ha-", dir=where)).resolve()
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            raise Failed(f"{path} is not empty")
        ports = iter(free_ports(len(NODES) * len(PORTS)))
        state = {"ports": {node: {name: next(ports) for name in PORTS} for node in NODES},
                 "pids": {}}
        (path / "cluster.json").write_text(json.dumps(state))
        cluster = Cluster(path)
        for node in NODES:
            cluster.configure(node)
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            for file in [path, *path.rglob("*")]:
                os.chown(file, user.pw_uid, user.pw_gid)
        return cluster

    def save(self):
        (self.path / "cluster.json").write_text(json.dumps(self.state))

    def etcd_hosts(self):
        return ",".join(f"127.0.0.1:{self.ports[node]['etcd']}" for node in NODES)

    def configure(self, node):
        folder = self.path / node
        folder.mkdir()
        template = string.Template((HERE / "patroni.yml.in").read_text())
        (folder / "patroni.yml").write_text(template.substitute(
            node=node, folder=folder, programs=postgres_programs(), etcd_hosts=self.etcd_hosts(),
            **{f"{name}_port": port for name, port in self.ports[node].items()}))

    # ---- processes ------------------------------------------------------------------------------

    def spawn(self, node, name, words, environment=None):
        """In a session of its own: Ctrl-C is for the caller."""
        with open(self.path / node / f"{name}.log", "ab") as log:
            process = subprocess.Popen(as_unprivileged(words), cwd="/", stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True,
                                       env={**os.environ, **(environment or {})})
        self.state["pids"].setdefault(node, {})[name] = process.pid
        self.save()

    def start_node(self, node):
        mine = self.ports[node]
        peers = ",".join(f"{n}=http://127.0.0.1:{self.ports[n]['etcd_peer']}" for n in NODES)
        client, peer = (f"http://127.0.0.1:{mine[name]}" for name in ("etcd", "etcd_peer"))
        folder = self.path / node
        # With its data there it ignores what is said of the initial cluster, and joins again.
        self.spawn(node, "etcd", [
            "etcd", "--name", node, "--data-dir", str(folder / "etcd"), "--log-level", "warn",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", peers, "--initial-cluster-token", str(self.path),
            # A disk that is shared with much else takes its time; the defaults are 100 and 1000.
            "--heartbeat-interval", "200", "--election-timeout", "2000"])
        self.spawn(node, "patroni", ["patroni", str(folder / "patroni.yml")],
                   {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})

    def postmaster(self, node):
        try:
            text = (self.path / node / "data" / "postmaster.pid").read_text()
            return int(text.split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def processes(self, node):
        """Those of the node that live: what was started here, and what that started."""
        pids = {pid for pid in self.state["pids"].get(node, {}).values()}
        pids.add(self.postmaster(node))
        pids = {pid for pid in pids if pid and self.is_of(node, pid)}
        parents = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if fields[0] != "Z":
                parents[int(stat.parent.name)] = int(fields[1])
        while more := {pid for pid, parent in parents.items() if parent in pids} - pids:
            pids |= more
        return pids

    def is_of(self, node, pid):
        """A number may have come again since."""
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            return False
        return any(str(self.path / node) in word for word in words)

    def kill_node(self, node):
        """At once, so that nothing of it can still say good-bye."""
        while pids := self.processes(node):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.reap()
        self.state["pids"].pop(node, None)
        self.save()

    @staticmethod
    def reap():
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            pass

    # ---- what it is like ------------------------------------------------------------------------

    def members(self):
        """As the first Patroni that answers sees them: name -> (role, state, timeline)."""
        for node in NODES:
            address = f"http://127.0.0.1:{self.ports[node]['patroni']}/cluster"
            try:
                with urllib.request.urlopen(address, timeout=2) as answer:
                    members = json.load(answer)["members"]
            except (OSError, ValueError, KeyError):
                continue
            return {m["name"]: (m["role"], m["state"], m.get("timeline")) for m in members}
        return {}

    def primary(self):
        for node in NODES:
            # Asked itself: what the others say of it is as old as its lease.
            address = f"http://127.0.0.1:{self.ports[node]['patroni']}/primary"
            try:
                with urllib.request.urlopen(address, timeout=2) as answer:
                    if answer.status == 200:
                        return node
            except (OSError, urllib.error.URLError):
                continue
        return None

    def is_whole(self):
        """One primary, a synchronous standby and another, all on one timeline."""
        members = self.members()
        roles = sorted(role for role, state, _ in members.values() if state == "running")
        timelines = {timeline for _, _, timeline in members.values()}
        return (roles == ["leader", "replica", "sync_standby"] and len(timelines) == 1
                and self.primary() is not None)

    def await_whole(self):
        until = time.monotonic() + WHOLE_SECONDS
        while not self.is_whole():
            if time.monotonic() > until:
                raise Failed(f"it is not whole after {WHOLE_SECONDS} s: {self.members()}; "
                             f"the logs are in {self.path}")
            time.sleep(0.5)

    def url(self):
        hosts = ",".join(f"127.0.0.1:{self.ports[node]['postgres']}" for node in NODES)
        return f"postgres://holdfast@{hosts}/postgres"

    # ---- commands -------------------------------------------------------------------------------

    def start(self):
        for node in NODES:
            self.start_node(node)
        self.await_whole()
        # The store is no superuser's.
        subprocess.run(
            [postgres_programs() / "psql", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p",
             str(self.ports[self.primary()]["postgres"]), "-c",
             "CREATE ROLE holdfast LOGIN; GRANT CREATE ON DATABASE postgres TO holdfast",
             "postgres"], check=True)

    def kill_primary(self):
        node = self.primary()
        if node is None:
            raise Failed("there is no primary")
        self.kill_node(node)
        return node

    def start_dead(self):
        for node in NODES:
            if not self.processes(node):
                self.start_node(node)
        self.await_whole()

    def stop(self):
        for node in NODES:
            self.kill_node(node)
        shutil.rmtree(self.path)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start").add_argument("--dir")
    for name in ("status", "url", "kill-primary", "start-dead", "stop"):
        commands.add_parser(name).add_argument("dir")
    arguments = parser.parse_args()
    if arguments.command == "start":
        cluster = Cluster.create(arguments.dir)
        cluster.start()
        print(cluster.path)
        print(cluster.url())
        return
    cluster = Cluster(arguments.dir)
    if arguments.command == "status":
        for node, (role, state, timeline) in sorted(cluster.members().items()):
            print(f"{node}  {role:<12}  {state:<10}  timeline {timeline}")
    elif arguments.command == "url":
        print(cluster.url())
    elif arguments.command == "kill-primary":
        print(cluster.kill_primary())
    elif arguments.command == "start-dead":
        cluster.start_dead()
    else:
        cluster.stop()


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}")
