#!/usr/bin/env python3
"""Tests the tests: bugs that were put into the code on purpose, each of which a test must find.

They are named in tests/mutants.json with what is wrong and which test finds it. The build that has
them (asan, by HOLDFAST_MUTANTS) behaves like any other until the environment's HOLDFAST_MUTANT
names one. Each is run against its own test, which must fail; all of these tests together must pass
where no mutant is active.

    tools/mutants.py [NAME...]            each against its own test
    tools/mutants.py --all [NAME...]      each against every test there is: who else finds it
    tools/mutants.py --write              the same as without, and the table in docs/testing.md
    tools/mutants.py --self-test          a mutant that no code has is told as not found
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/mutants.json"
DOCUMENT = ROOT / "docs/testing.md"
BUILD = ROOT / "build/asan"
BEGIN, END = "<!-- mutants: written by tools/mutants.py --write -->", "<!-- mutants: end -->"
AT_ONCE = (os.cpu_count() or 2) * 2  # they mostly wait
LIMIT = 60  # seconds of one test: beyond it nothing was found
ALL_LIMIT = 1800
SUITES = ("unit", "conformance", "contention", "postgres", "crash")
ENVIRONMENT = {"HOLDFAST_TEST_SCALE": "0.3", "HOLDFAST_POSTGRES_UNTIL": "parent",
               "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    bug: str    # what is wrong, in a few words
    suite: str  # whose test finds it
    test: str   # as --gtest_filter takes it


@dataclasses.dataclass(frozen=True)
class Outcome:
    failed: list  # names of tests
    passed: list
    seconds: float
    problem: str = ""  # why there is no report
    output: str = ""


def load(text=None):
    return [Mutant(**entry) for entry in json.loads(text or LIST.read_text(encoding="utf-8"))]


def run_tests(suite, tests, mutant="", limit=LIMIT):
    """Runs tests of a suite in one process, with the mutant active."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.xml")
        try:
            done = subprocess.run(
                [BUILD / "tests" / f"{suite}_tests", f"--gtest_filter={tests}", "--gtest_brief=1",
                 f"--gtest_output=xml:{report}"],
                cwd=ROOT, env=os.environ | ENVIRONMENT | {"HOLDFAST_MUTANT": mutant}, text=True,
                errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=limit)
            problem, output = f"the program ended with {done.returncode}", done.stdout
        except subprocess.TimeoutExpired as expired:
            problem = f"it did not end within {limit} s"
            output = (expired.stdout or b"").decode(errors="replace")
        seconds = time.monotonic() - began
        if not report.exists():
            return Outcome([], [], seconds, problem, output)
        cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))
    ran = [case for case in cases if case.get("result") == "completed"]
    name = lambda case: f"{case.get('classname')}.{case.get('name')}"
    failed = [name(case) for case in ran if case.find("failure") is not None]
    passed = [name(case) for case in ran if case.find("failure") is None]
    return Outcome(failed, passed, seconds, "" if ran else "there is no such test", output)


def find(mutant):
    return run_tests(mutant.suite, mutant.test, mutant.name)


def run_own(mutants):
    """Every mutant against its own test. Returns their outcomes."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(find, mutants))
    for mutant, outcome in zip(mutants, outcomes):
        mark = "found" if outcome.failed else "NOT FOUND"
        why = f" ({outcome.problem})" if outcome.problem else ""
        print(f"{mark:<9} {outcome.seconds:>5.1f} s  {mutant.name:<28} {mutant.suite} "
              f"{mutant.test}{why}", flush=True)
        if outcome.problem:
            print(outcome.output[-4000:], flush=True)
    return outcomes


def run_control(mutants):
    """The same tests where no mutant is active. Returns how many suites passed, and failed."""
    tests = {}
    for mutant in mutants:
        tests.setdefault(mutant.suite, set()).add(mutant.test)
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = pool.map(lambda of: run_tests(of[0], ":".join(sorted(of[1]))), tests.items())
    for suite, outcome in zip(tests, outcomes):
        is_good = outcome.passed and not outcome.failed and not outcome.problem
        passed += is_good
        print(f"without any: {suite}: {len(outcome.passed)} passed, {len(outcome.failed)} failed, "
              f"{outcome.seconds:.1f} s", flush=True)
        if not is_good:
            print(outcome.problem, outcome.output[-10_000:], flush=True)
    return passed, len(tests) - passed


def run_all(mutants):
    """Every mutant against every test."""
    for mutant in mutants:
        finders = []
        for suite in SUITES:
            outcome = run_tests(suite, "*", mutant.name, ALL_LIMIT)
            finders += [f"{suite} {test}" for test in outcome.failed]
            if outcome.problem:
                finders.append(f"{suite}: {outcome.problem}")
        print(f"{mutant.name}: {len(finders)}", *finders, sep="\n    ", flush=True)


def self_test():
    """A bug that is in no path must not be taken for found: by a test that does find one."""
    mutant = load()[0]
    nowhere = dataclasses.replace(mutant, name="in_no_path")
    outcomes = run_own([mutant, nowhere])
    return bool(outcomes[0].failed) and bool(outcomes[1].passed) and not outcomes[1].failed


def table(mutants, outcomes):
    lines = ["| mutant | what is wrong | found by | s |", "|---|---|---|---|"]
    for mutant, outcome in zip(mutants, outcomes):
        test = mutant.test.replace("*", r"\*")
        lines.append(f"| {mutant.name} | {mutant.bug} | {mutant.suite}: {test} | "
                     f"{outcome.seconds:.1f} |")
    return "\n".join(lines)


def write(text, content):
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{content}\n\n{END}", text)


def stage():
    """For tools/run_tests.py: how many passed and failed."""
    mutants = load()
    outcomes = run_own(mutants)
    passed, failed = run_control(mutants)
    told_apart = self_test()
    found = sum(bool(outcome.failed) for outcome in outcomes)
    return found + passed + told_apart, len(mutants) - found + failed + (not told_apart)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--all", "--write", "--self-test"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    mutants = [m for m in load() if not arguments.names or m.name in arguments.names]
    if unknown := set(arguments.names) - {m.name for m in mutants}:
        print(f"there is no mutant {', '.join(sorted(unknown))}")
        return 2
    if arguments.self_test:
        return 0 if self_test() else 1
    if arguments.all:
        run_all(mutants)
        return 0
    outcomes = run_own(mutants)
    _, failed = run_control(mutants)
    missed = [m.name for m, outcome in zip(mutants, outcomes) if not outcome.failed]
    print(f"{len(mutants) - len(missed)} of {len(mutants)} mutants found", *missed)
    if arguments.write and not arguments.names:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(write(text, table(mutants, outcomes)), encoding="utf-8")
    return 1 if missed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
