#!/usr/bin/env python3
"""Checks the models of models/ with Spin, every interleaving there is: each as it is, where it must
hold, and each of its broken variants, which must fail in the way that is known of it.

    tools/check_models.py [MODEL...]

The last line is "N passed, N failed". Needs spin and a C compiler.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONGEST = 120  # seconds of one check
MEGABYTES = 1500
STEPS = 100_000  # of the longest run that is followed to its end
TABLE = 20  # bits of the address of a state; more is a waste of time here

# Assertions, and that nobody is stuck: breadth first for a variant, because it ends with the first
# and shortest failure.
SAFETY = ["-DNOCLAIM", "-DSAFETY"]
SHORTEST = [*SAFETY, "-DBFS"]
# The formula, over runs without end, in which nobody who can go on is left out for ever.
LIVENESS = ["-DNFAIR=3"]


@dataclasses.dataclass(frozen=True)
class Check:
    model: str
    what: str  # for people
    variant: str = ""
    formula: str = ""  # its name; nothing: the assertions
    fails_by: str = ""  # a piece of the failure that a variant must show

    def __str__(self):
        return f"{self.model}{' ' + self.variant if self.variant else ''}: {self.what}"


CHECKS = [
    Check("lease_token", "tokens rise, no update is lost, nobody writes after his successor"),
    Check("lease_token", "whoever waits is served", formula="never_stuck"),
    Check("lease_token", "a lost update", "NO_GUARD", fails_by="value==accepted"),
    Check("lease_token", "a token given twice", "TOKEN_NOT_PERSISTED", fails_by="token>before"),
    Check("lease_token", "a token given twice", "TOKEN_BEFORE_SYNC", fails_by="token>before"),
    Check("lease_token", "a wait without end", "NO_EXPIRY", formula="never_stuck",
          fails_by="acceptance cycle"),
    Check("fifo_lock", "one holder, in order of arrival, none who has gone away"),
    Check("fifo_lock", "whoever waits is served", formula="never_stuck"),
    Check("fifo_lock", "somebody overtakes", "OVERTAKE", fails_by="length==0"),
    Check("fifo_lock", "a grant to the dead", "NO_RECHECK", fails_by="gone[holder]"),
    Check("fifo_lock", "held by one who went away", "BLIND_LEAVE", fails_by="holder!=me"),
    Check("fifo_lock", "a wait without end", "LOST_WAKE_UP", formula="never_stuck",
          fails_by="acceptance cycle"),
    Check("fifo_lock", "a wait without end", "DEAD_HOLDER", formula="never_stuck",
          fails_by="acceptance cycle"),
    Check("idempotent_commit", "never twice, never both, and what is told is so"),
    Check("idempotent_commit", "what was told stays so", formula="answers_hold"),
    Check("idempotent_commit", "who goes on asking is answered", formula="answered"),
    Check("idempotent_commit", "an effect twice", "KEY_OUTSIDE", fails_by="disk.effects[0]+"),
    Check("idempotent_commit", "an effect twice", "CHECK_OUTSIDE", fails_by="disk.effects[0]+"),
    Check("idempotent_commit", "an answer that a crash takes back", "ACK_BEFORE_SYNC",
          fails_by="disk.effects[client]==1"),
    Check("idempotent_commit", "somebody who is never answered", "NO_REPLAY", formula="answered",
          fails_by="acceptance cycle"),
]


class Broken(Exception):
    """The check says nothing: it could not be made."""


def run(*command, folder):
    try:
        return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise Broken(f"{command[0]} took more than {LONGEST} s")


def explore(check):
    """What the verifier says after it has seen every state, or the first failure."""
    with tempfile.TemporaryDirectory() as folder:
        source = ROOT / "models" / f"{check.model}.pml"
        variant = [f"-D{check.variant}"] if check.variant else []
        made = run("spin", "-a", *variant, str(source), folder=folder)
        if made.returncode != 0 or not pathlib.Path(folder, "pan.c").exists():
            raise Broken(f"spin refuses it:\n{made.stdout}")
        how = LIVENESS if check.formula else SHORTEST if check.variant else SAFETY
        # To optimise costs more than a variant takes to fail.
        built = run("cc", "-O0" if check.variant else "-O1", "-w", f"-DMEMLIM={MEGABYTES}", *how,
                    "-o", "pan", "pan.c", folder=folder)
        if built.returncode != 0:
            raise Broken(f"the verifier does not compile:\n{built.stdout}")
        formula = ["-a", "-f", "-N", check.formula] if check.formula else []
        return run("./pan", *formula, f"-m{STEPS}", f"-w{TABLE}", folder=folder).stdout


def unreached(report):
    """Statements that no run comes to: of those the check says nothing. The ends of processes that
    go on for ever are not meant."""
    for line in re.findall(r"^\t(\S+\.pml:\d+, state \d+, .*)$", report, re.M):
        if not line.endswith('"-end-"'):
            yield line


def judge(check, report):
    """How many states there are. Raises Broken if the check has not come out as it must."""
    errors = re.search(r"errors: (\d+)", report)
    states = re.search(r"^\s*(\d+(?:\.\d+e\+\d+)?) states, stored", report, re.M)
    if not errors or not states or "max search depth too small" in report:
        raise Broken(f"it was not explored to the end:\n{report}")
    failure = "\n".join(re.findall(r"^pan:1: .*$", report, re.M))
    if not check.variant and (failure or errors.group(1) != "0"):
        raise Broken(f"it does not hold: {failure}")
    if check.variant and check.fails_by not in failure:
        raise Broken(f"{check.fails_by} was to fail, but there is "
                     f"{failure or 'no failure at all'}")
    if not check.variant and not check.formula and (left_out := list(unreached(report))):
        raise Broken("there is what no run comes to:\n" + "\n".join(left_out))
    return int(float(states.group(1)))


def perform(check):
    start = time.monotonic()
    try:
        states = judge(check, explore(check))
    except Broken as broken:
        print(f"FAILED {check}: {broken}", flush=True)
        return False
    found = "found" if check.variant else "holds"
    print(f"{states:>9,} states {time.monotonic() - start:5.1f} s  {check}: {found}", flush=True)
    return True


def main():
    names = sys.argv[1:]
    models = {path.stem for path in (ROOT / "models").glob("*.pml")}
    if unknown := sorted(set(names) - models):
        print(f"there is no model {', '.join(unknown)}; there are {', '.join(sorted(models))}")
        return 2
    failed = 0
    for model in sorted(models - {check.model for check in CHECKS}):
        print(f"FAILED {model}: nothing is checked of it")
        failed += 1
    for check in CHECKS:  # what a model says of its variants, and what is checked, are the same
        text = (ROOT / "models" / f"{check.model}.pml").read_text(encoding="utf-8")
        if check.variant and f"\n *   {check.variant} " not in text:
            print(f"FAILED {check}: {check.model}.pml does not describe it")
            failed += 1
    wanted = [check for check in CHECKS if not names or check.model in names]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        outcomes = list(pool.map(perform, wanted))
    failed += outcomes.count(False)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"models: {usage.ru_utime + usage.ru_stime:.0f} s of CPU")
    print(f"{outcomes.count(True)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
