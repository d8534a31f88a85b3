#!/usr/bin/env python3
"""Everything that must hold before a change is done, stage by stage:

tidy      who may use whom, sizes, banned constructs, documents
models    the protocols of models/, every interleaving, and that their broken variants fail
release   the release build with warnings as errors, and every test there is
asan      the tests of all that has no process to kill and no disk to simulate, under the address
          and UB sanitizers; what only needs a database reaches PostgreSQL through PgBouncer in
          transaction mode
mutants   bugs put into the code on purpose, in the build of asan: the tests must find every one
fuzz      what strangers can send (batches, patches, rules), mutated for a while, in the same build
tsan      history and contention tests, and conformance over HTTP, under the thread
          sanitizer, after clang's thread-safety analysis of the whole library, binary and tests,
          which fails the build

The last line is "N passed, N failed" over all stages. A stage that does not build is one failure;
the others run all the same.

    tools/run_tests.py [--fuzz-seconds N] [--long] [STAGE...]

With --long the tests of chance try as often as docs/testing.md says of the long run, which takes
hours.
"""

import argparse
import concurrent.futures
import itertools
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

import mutants as bugs

ROOT = pathlib.Path(__file__).resolve().parent.parent
JOBS = os.cpu_count() or 2
# What each build runs, the slow first: program -> arguments.
RELEASE_SUITES = {"crash": [], "e2e": [], "postgres": [], "history": [], "contention": [],
                  "conformance": [], "sim": [], "disk": [], "unit": []}
# What is measured has the machine to itself: one process, after all others.
MEASURED_SUITES = {"adversity": []}
# Under the sanitizers one engine behind HTTP stands for all: what lies between is the same.
ONE_REMOTE = ["--gtest_filter=-*/http_over_memory"]
# The simulation repeats millions of steps that the other suites have as well.
ASAN_SUITES = {"postgres": [], "history": ONE_REMOTE, "contention": ONE_REMOTE,
               "conformance": ONE_REMOTE, "disk": [], "unit": []}
# Of conformance, where mostly one thread speaks, the thread sanitizer has what has the most of
# them: the client, the server and the engine's writer. PostgreSQL's own are at work in contention;
# what its suite does besides is to end servers and connections. Few unit tests have a thread.
TSAN_SUITES = {"history": ONE_REMOTE, "contention": ONE_REMOTE,
               "conformance": ["--gtest_filter=*/http_over_sqlite"]}
# A race or a stray access shows at a part of the load as well; the sizes that are promised run in
# the release build. Histories and random scripts mostly search, on one thread, what few have
# recorded.
SANITIZED_LOAD = {"history": "0.05", "conformance": "0.1", "contention": "0.2"}
# How many test programs run at a time. Half of them mostly wait: for leases, for disks, for each
# other. The others compute, so that each sort begins as many.
AT_ONCE = JOBS * 2
WAITING = {"crash", "e2e", "postgres", "contention", "disk"}
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


fuzz_seconds = 10  # for each fuzzer


class Failed(Exception):
    """A step failed, which counts as one failure of its stage."""


def run(*command):
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise Failed(" ".join(command))


def build(preset, targets=()):
    configure = subprocess.run(["cmake", "--preset", preset], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if configure.returncode != 0:
        print(configure.stdout)
        raise Failed(f"cmake --preset {preset}")
    # A terminal gets one line of progress; a log gets warnings, errors and failures alone.
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    run("ninja", "-C", f"build/{preset}", "-j", str(JOBS), *quiet, *targets)


def ctest(preset, *arguments):
    """Runs tests and returns how many passed and failed."""
    report = ROOT / "build" / preset / "tests.xml"
    report.unlink(missing_ok=True)
    show = ["--progress"] if sys.stdout.isatty() else ["--quiet"]
    subprocess.run(["ctest", "--test-dir", f"build/{preset}", "-j", str(JOBS), *show,
                    "--output-junit", str(report), *arguments],
                   cwd=ROOT)
    if not report.exists():
        raise Failed(f"ctest wrote no {report.name}")
    cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))
    for case in cases:
        if case.get("status") == "fail":
            print(f"\n{case.get('name')} failed:\n{case.findtext('system-out')}")
    passed = sum(case.get("status") == "run" for case in cases)
    # A test that said it does not apply here; one that could not be started has failed.
    skipped = sum("SKIP" in node.get("message", "") for case in cases
                  for node in case.findall("skipped"))
    failed = len(cases) - passed - skipped
    if passed == 0:
        raise Failed(f"no test passed in {preset}")
    return passed, failed


def run_shard(preset, suite, arguments, shard, shards, options):
    """Runs a part of a test program in one process; returns how many passed and failed. A process
    for each test, as ctest has, costs more than most tests do."""
    folder = ROOT / "build" / preset
    report = folder / f"{suite}-{shard}.xml"
    report.unlink(missing_ok=True)
    if preset != "release":
        options = {"HOLDFAST_TEST_SCALE": SANITIZED_LOAD.get(suite, "0.3")} | options
    environment = {"GTEST_TOTAL_SHARDS": str(shards), "GTEST_SHARD_INDEX": str(shard),
                   "HOLDFAST_POSTGRES_UNTIL": "parent"}  # one server, which ends with this program
    try:
        outcome = subprocess.run(
            [folder / "tests" / f"{suite}_tests", "--gtest_brief=1", *arguments,
             f"--gtest_output=xml:{report}"],
            cwd=ROOT, env=options | os.environ | environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=None if os.environ.get("HOLDFAST_LONG") == "1" else 900)
        code, output = outcome.returncode, outcome.stdout
    except subprocess.TimeoutExpired as expired:
        code, output = "no exit code", (expired.stdout or b"").decode(errors="replace")
    if not report.exists():  # it ended before it could say what came of it
        print(f"\n{suite}, shard {shard} ended with {code}:\n" + output[-20_000:], flush=True)
        return 0, 1
    cases = [case for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase")
             if case.get("result") == "completed"]
    failed = sum(case.find("failure") is not None for case in cases)
    if code != 0:
        failed = max(failed, 1)
        print(f"\n{suite}, shard {shard} ended with {code}:\n" + output[-20_000:], flush=True)
    return len(cases) - failed, failed


def in_turns(parts):
    """A part that waits, one that computes, and so on."""
    waiting = [part for part in parts if part[0] in WAITING]
    computing = [part for part in parts if part[0] not in WAITING]
    pairs = itertools.zip_longest(waiting, computing)
    return [part for pair in pairs for part in pair if part is not None]


def run_suites(preset, suites, options, shards=JOBS * 2):
    """Runs test programs, each in several processes, so that no core is idle while one of them
    waits or is the last."""
    parts = in_turns([(suite, arguments, shard) for suite, arguments in suites.items()
                      for shard in range(shards)])
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(
            lambda part: run_shard(preset, *part, shards, options), parts))
    for suite in suites:
        of_suite = [count for part, count in zip(parts, counts) if part[0] == suite]
        passed, failed = (sum(column) for column in zip(*of_suite))
        print(f"{suite}: {passed} passed, {failed} failed", flush=True)
        if not passed:
            raise Failed(f"no test of {suite} passed in {preset}")
    return tuple(sum(column) for column in zip(*counts))


def tidy():
    run("tools/tidy.py", "--self-test")
    run("tools/tidy.py")
    return 2, 0


def models():
    outcome = subprocess.run(["tools/check_models.py"], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(outcome.stdout, end="")
    counts = re.search(r"^(\d+) passed, (\d+) failed$", outcome.stdout, re.M)
    if not counts or int(counts.group(1)) == 0:
        raise Failed(f"tools/check_models.py, with exit code {outcome.returncode}")
    return tuple(map(int, counts.groups()))


def release():
    build("release")
    counts = [run_suites("release", RELEASE_SUITES, {}),
              run_suites("release", MEASURED_SUITES, {}, shards=1),
              ctest("release", "-L", "install")]
    return tuple(sum(column) for column in zip(*counts))


def asan():
    build("asan", ["sanitized"])
    return run_suites("asan", ASAN_SUITES,
                      SANITIZER_OPTIONS | {"HOLDFAST_POSTGRES_POOLER": "1"})


def mutants():
    build("asan", ["sanitized"])
    return bugs.check(bugs.load())


def tsan():
    # All of the library and the binary, for the analysis; of the tests what is run.
    build("tsan", ["holdfast", "holdfast_cli", *(f"{suite}_tests" for suite in TSAN_SUITES)])
    return run_suites("tsan", TSAN_SUITES, SANITIZER_OPTIONS)


def fuzz_one(fuzzer):
    """Whether the fuzzer found nothing. What it learns stays in the build, and is used again."""
    name = fuzzer.name.removesuffix("_fuzz")
    learnt = fuzzer.parent / "learnt" / name
    learnt.mkdir(parents=True, exist_ok=True)
    outcome = subprocess.run(
        [fuzzer, f"-max_total_time={fuzz_seconds}", "-timeout=10", "-rss_limit_mb=2048",
         f"-artifact_prefix={fuzzer.parent}/{name}-", learnt, f"tests/fuzz/corpus/{name}"],
        cwd=ROOT, env=os.environ | SANITIZER_OPTIONS, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = outcome.stdout.splitlines()
    if outcome.returncode != 0:
        print(f"\n{name} failed:\n" + "\n".join(lines[-60:]))
        return False
    print(f"{name}: {lines[-1].lower()}")
    return True


def fuzz():
    build("asan", ["fuzzers"])
    fuzzers = sorted(path for path in (ROOT / "build/asan/tests/fuzz").glob("*_fuzz"))
    if not fuzzers:
        raise Failed("there are no fuzzers")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        passed = sum(pool.map(fuzz_one, fuzzers))
    return passed, len(fuzzers) - passed


STAGES = {stage.__name__: stage for stage in (tidy, models, release, asan, mutants, fuzz, tsan)}


def main():
    global fuzz_seconds
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz-seconds", type=int, default=fuzz_seconds, metavar="N")
    parser.add_argument("--long", action="store_true", help="the long run, which takes hours")
    parser.add_argument("stages", nargs="*", metavar="STAGE")
    arguments = parser.parse_args()
    fuzz_seconds, names = arguments.fuzz_seconds, arguments.stages
    if arguments.long:
        os.environ["HOLDFAST_LONG"] = "1"
    if unknown := [name for name in names if name not in STAGES]:
        print(f"there is no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
        return 2
    total_passed, total_failed, summary = 0, 0, []
    for name in names or STAGES:
        print(f"\n==== {name} " + "=" * (74 - len(name)), flush=True)
        start = time.monotonic()
        try:
            passed, failed = STAGES[name]()
        except Failed as failure:
            print(f"failed: {failure}")
            passed, failed = 0, 1
        total_passed += passed
        total_failed += failed
        seconds = time.monotonic() - start
        summary.append(f"{name:<9} {passed:>5} passed {failed:>4} failed {seconds:>6.0f} s")
        print(f"---- {summary[-1]}", flush=True)
    print("\n==== all " + "=" * 71)
    print("\n".join(summary))
    print(f"{total_passed} passed, {total_failed} failed")
    return 1 if total_failed else 0


if __name__ == "__main__":
    sys.exit(main())
