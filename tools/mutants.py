#!/usr/bin/env python3
"""Tests the tests: bugs that were put into the code on purpose, each of which a test must find.

They are named in tests/mutants.json with what is wrong and which test finds it. The build that has
them (asan, by HOLDFAST_MUTANTS) behaves like any other until the environment's HOLDFAST_MUTANT
names one. Each is run against its own test, which must fail; where no mutant is active all of these
tests must pass; and a mutant that is in no code must not be found.

    tools/mutants.py [NAME...]            each against its own test
    tools/mutants.py --write              the same, and the table in docs/testing.md
    tools/mutants.py --times N [NAME...]  each N times: a test that finds it by luck is found out
    tools/mutants.py --all [NAME...]      each against every test there is: who else finds it
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/mutants.json"
DOCUMENT = ROOT / "docs/testing.md"
BUILD = ROOT / "build/asan"
BEGIN, END = "<!-- mutants: written by tools/mutants.py --write -->", "<!-- mutants: end -->"
JOBS = os.cpu_count() or 2
LIMIT = 60  # seconds of a test: one that takes longer has found nothing
HANG = 10  # of one whose mutant makes it wait for ever; without it takes a second
ALL_LIMIT = 1800
SUITES = ("unit", "conformance", "contention", "postgres", "disk")
ENVIRONMENT = {"HOLDFAST_TEST_SCALE": "0.3", "HOLDFAST_POSTGRES_UNTIL": "parent",
               "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1"}
# What tells that a test has failed: an expectation of its own, a check of the code, a sanitizer.
FAILURE = re.compile(r": Failure$|check failed: |runtime error: |ERROR: AddressSanitizer")


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    bug: str    # what is wrong, in a few words
    suite: str  # whose test finds it
    test: str   # its full name
    hangs: bool = False  # the test does not fail but waits for ever, because of what is wrong


@dataclasses.dataclass(frozen=True)
class Outcome:
    seconds: float
    end: str  # "passed", "failed", "hung", or what else became of it
    failed: tuple = ()  # the tests that did
    output: str = ""

    def finds(self, mutant):
        return self.end == "failed" or (self.end == "hung" and mutant.hangs)


def load():
    mutants = [Mutant(**entry) for entry in json.loads(LIST.read_text(encoding="utf-8"))]
    names = collections.Counter(mutant.name for mutant in mutants)
    if twice := [name for name, count in names.items() if count > 1]:  # would be both at once
        sys.exit(f"{LIST.name}: more than one mutant is called {', '.join(twice)}")
    return mutants


def run_tests(suite, tests, mutant="", limit=LIMIT, to_the_end=True):
    """Runs tests of a suite in one process, with the mutant active. Unless to the end, until the
    first that fails says so: with what is wrong it may then wait for ever."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.xml")
        program = subprocess.Popen(
            [BUILD / "tests" / f"{suite}_tests", f"--gtest_filter={tests}", "--gtest_brief=1",
             f"--gtest_output=xml:{report}"],
            cwd=ROOT, env=os.environ | ENVIRONMENT | {"HOLDFAST_MUTANT": mutant}, text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        is_late = threading.Event()
        timer = threading.Timer(limit, lambda: (is_late.set(), program.kill()))
        timer.start()
        lines, has_failed, is_cut = [], False, False
        for line in program.stdout:
            lines.append(line)
            has_failed |= bool(FAILURE.search(line.rstrip()))
            if has_failed and not to_the_end:
                is_cut = True
                program.kill()
        code = program.wait()
        timer.cancel()
        failed, ran = [], 0
        if report.exists() and not is_cut and not is_late.is_set():
            for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
                ran += case.get("result") == "completed"
                if case.find("failure") is not None:
                    failed.append(f"{case.get('classname')}.{case.get('name')}")
    end = ("failed" if has_failed else "hung" if is_late.is_set() else
           f"ended with {code}" if code != 0 else "passed" if ran else "no such test")
    return Outcome(time.monotonic() - began, end, tuple(failed), "".join(lines))


def by_suite(mutants):
    tests = {}
    for mutant in mutants:
        tests.setdefault(mutant.suite, set()).add(mutant.test)
    return {suite: ":".join(sorted(names)) for suite, names in tests.items()}


def run_against(mutant):
    limit = HANG if mutant.hangs else LIMIT
    return run_tests(mutant.suite, mutant.test, mutant.name, limit, to_the_end=False)


def run_own(mutants):
    """Every mutant against its own test, and all these tests without one. Returns the outcomes of
    the mutants, and whether the tests pass without them."""
    tests = by_suite(mutants)
    with concurrent.futures.ThreadPoolExecutor(JOBS * 2) as pool:  # they mostly wait
        without = [pool.submit(run_tests, *of_suite, limit=ALL_LIMIT) for of_suite in tests.items()]
        outcomes = list(pool.map(run_against, mutants))
    for mutant, outcome in zip(mutants, outcomes):
        is_found = outcome.finds(mutant)
        print(f"{'found' if is_found else 'NOT FOUND':<9} {outcome.seconds:>5.1f} s  "
              f"{mutant.name:<26} {mutant.suite}: {mutant.test} {outcome.end}", flush=True)
        if not is_found and outcome.end != "passed":
            print(outcome.output[-4000:], flush=True)
    without = [future.result() for future in without]
    for suite, outcome in zip(tests, without):
        print(f"{suite}, without a mutant: {outcome.end}, {outcome.seconds:.1f} s", flush=True)
        if outcome.end != "passed":
            print(outcome.output[-10_000:], flush=True)
    return outcomes, all(outcome.end == "passed" for outcome in without)


def run_all(mutants):
    """Every mutant against every test."""
    for mutant in mutants:
        print(f"{mutant.name}: {mutant.bug}", flush=True)
        for suite in SUITES:
            outcome = run_tests(suite, "*", mutant.name, ALL_LIMIT)
            print(f"    {suite}: {outcome.end}, {outcome.seconds:.0f} s",
                  *outcome.failed, sep="\n        ", flush=True)


def run_often(mutants, times):
    """Every mutant against its own test, again and again. Returns whether all were always found."""
    with concurrent.futures.ThreadPoolExecutor(JOBS * 2) as pool:
        runs = {mutant.name: [pool.submit(run_against, mutant) for _ in range(times)]
                for mutant in mutants}
        are_good = True
        for mutant in mutants:
            found = sum(run.result().finds(mutant) for run in runs[mutant.name])
            are_good &= found == times
            print(f"{found:>4} of {times}  {mutant.name}", flush=True)
    return are_good


def is_told_apart(mutant):
    """A mutant that is in no code must not be found, by a test that does find one."""
    nowhere = dataclasses.replace(mutant, name="in_no_code")
    outcome = run_tests(mutant.suite, mutant.test, nowhere.name)
    print(f"one that is in no code: {outcome.end}", flush=True)
    return outcome.end == "passed"


def table(mutants, outcomes):
    lines = ["| mutant | what is wrong | found by | s |", "|---|---|---|---|"]
    for mutant, outcome in zip(mutants, outcomes):
        lines.append(f"| {mutant.name} | {mutant.bug} | {mutant.suite}: {mutant.test} | "
                     f"{outcome.seconds:.1f} |")
    return "\n".join(lines)


def write(mutants, outcomes):
    text = DOCUMENT.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    content = f"{BEGIN}\n\n{table(mutants, outcomes)}\n\n{END}"
    DOCUMENT.write_text(pattern.sub(lambda _: content, text), encoding="utf-8")


def check(mutants, is_written=False):
    """Returns how many mutants were found, with one more for each of the two controls, and how many
    were not."""
    outcomes, are_good_without = run_own(mutants)
    results = [outcome.finds(mutant) for mutant, outcome in zip(mutants, outcomes)]
    print(f"{sum(results)} of {len(mutants)} mutants found", flush=True)
    results += [are_good_without, is_told_apart(mutants[0])]
    if is_written and all(results):
        write(mutants, outcomes)
    return sum(results), len(results) - sum(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--times", type=int, metavar="N")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    mutants = [m for m in load() if not arguments.names or m.name in arguments.names]
    if unknown := set(arguments.names) - {m.name for m in mutants}:
        print(f"there is no mutant {', '.join(sorted(unknown))}")
        return 2
    if arguments.times:
        return 0 if run_often(mutants, arguments.times) else 1
    if arguments.all:
        run_all(mutants)
        return 0
    _, failed = check(mutants, arguments.write and not arguments.names)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
