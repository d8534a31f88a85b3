#!/usr/bin/env python3
"""Checks what no compiler checks: who may use whom, sizes, banned constructs, rules without tests,
documents. Prints one line a finding, and exits with 1 if there is any.

    tools/tidy.py [--root DIR]      check a tree
    tools/tidy.py --self-test       prove that each check can fail
"""

import argparse
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# ---- what is allowed ---------------------------------------------------------------------------

# Folder -> (what of ours it may include, which libraries it may include). Longest match wins.
# "include" is include/holdfast, which everybody but no header of a library may use.
FOLDERS = {
    "include/holdfast": ({"include"}, set()),
    "src/base": ({"include", "base"}, {"fmt", "spdlog", "nlohmann", "posix"}),
    "src/rules": ({"include", "base", "rules"}, {"fmt", "valijson", "re2"}),
    "src/wire": ({"include", "base", "rules", "wire"}, {"fmt", "simdjson", "openssl"}),
    "src/engine": ({"include", "base", "rules", "wire", "seam"}, {"fmt"}),
    "src/engine/memory": (
        {"include", "base", "rules", "wire", "seam", "engine/memory"},
        {"fmt"}),
    "src/engine/sqlite": (
        {"include", "base", "rules", "wire", "seam", "engine/sqlite"},
        {"fmt", "sqlite3", "posix"}),
    "src/engine/postgres": (
        {"include", "base", "rules", "wire", "seam", "engine/postgres"},
        {"fmt", "libpq", "posix"}),
    "src/store": ({"include", "base", "rules", "wire", "seam", "store"}, {"fmt", "posix"}),
    "src/net": ({"include", "base", "net"}, {"boost", "posix"}),
    "src/api": (
        {"include", "base", "rules", "wire", "seam", "store", "net", "api"},
        {"fmt", "simdjson", "prometheus", "boost", "posix"}),
    "src/open": (
        {"include", "base", "api", "engine/memory", "engine/postgres", "engine/sqlite", "seam",
         "store", "open"},
        {"fmt"}),
    "src/history": ({"include", "base", "rules", "wire", "history"}, {"fmt", "simdjson", "posix"}),
    "src/lab": ({"include", "base", "rules", "wire", "history", "lab"}, {"fmt", "posix"}),
    "src/cli": (
        {"include", "base", "rules", "wire", "store", "net", "api", "open", "cli", "seam",
         "engine/memory", "engine/postgres", "engine/sqlite", "history", "lab"},
        {"fmt", "simdjson", "spdlog", "prometheus", "boost", "sqlite3", "cli11", "posix"}),
    # For tests only. Its fixtures open every engine, http over a real server included.
    "testing": (
        {"include", "base", "rules", "wire", "seam", "engine/memory", "engine/sqlite", "store",
         "net", "api", "history", "testing"},
        {"fmt", "gtest", "libpq", "nlohmann", "sqlite3", "posix"}),
    "tests": ("anything", "anything"),
    "bench": ("anything", "anything"),
    "examples": ({"include", "examples"}, {"fmt", "posix"}),
}

LIBRARIES = {
    "boost/": "boost", "fmt/": "fmt", "spdlog/": "spdlog", "simdjson": "simdjson",
    "openssl/": "openssl", "sqlite3": "sqlite3", "libpq-fe.h": "libpq",
    "prometheus/": "prometheus", "CLI/": "cli11",
    "nlohmann/": "nlohmann", "re2/": "re2", "valijson/": "valijson",
    "gtest/": "gtest", "gmock/": "gtest",
}

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_COLUMNS = 100

# Tests and examples may use what needs no annotation to be seen through: they are short.
OWN_LOCKS = ["src/base/mutex.h", "tests", "examples"]
# Where the only way to see another process's progress is to look again, or pausing is the purpose.
OWN_PAUSES = ["src/cli/job.cc", "testing/schedule_noise.cc", "tests/e2e", "tests/ha", "examples"]

# Pattern, what to do instead, and the files or folders where it is right.
BANNED = [
    (r"\bstd::(recursive_|timed_|shared_)?mutex\b", "base::Mutex", OWN_LOCKS),
    (r"\bstd::(lock_guard|scoped_lock|unique_lock|shared_lock)\b", "base::MutexLock", OWN_LOCKS),
    (r"\bstd::condition_variable(_any)?\b", "base::CondVar", OWN_LOCKS),
    (r"\bdetach\s*\(", "a thread that somebody joins", []),
    (r"\bsleep_(for|until)\s*\(", "CondVar::WaitUntil, or wait for the event", OWN_PAUSES),
    (r"(?<![\w.>])u?sleep\s*\(", "CondVar::WaitUntil, or wait for the event", OWN_PAUSES),
    (r"\bs?rand\s*\(", "holdfast::Random", []),
    (r"\bassert\s*\(", "HF_CHECK", []),
    (r"\bcatch\s*\(\s*\.\.\.\s*\)", "an exception by its type",
     ["src/store/worker_pool.cc"]),  # handlers are users' code and may throw anything
    (r"\bsystem_clock::now\b", "holdfast::Clock", ["src/base/clock.cc"]),
    (r"\bstd::(cout|cerr)\b", "a LogSink, or print in src/cli", ["src/cli", "tests", "examples"]),
]
UNFINISHED = re.compile(r"\b(FIXME|XXX|TODO)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}/-])/(work|home|root|Users)/")
TEMPORARY_PATH = re.compile(r"(?<![\w.}/-])/tmp/")

RULES = ([f"JOB_{n}" for n in range(1, 14)] + [f"REC_{n}" for n in range(1, 10)] +
         [f"LOCK_{n}" for n in range(1, 12)] +
         ["AUD_1", "CTX_1", "TIME_1", "IDEM_1"])

# ---- the tree ----------------------------------------------------------------------------------

GENERATED = {"__pycache__", "node_modules"}
SCANNED = ["include", "src", "testing", "tests", "bench", "examples", "cmake", "tools", "docs",
           "models", ".ci"]
CODE = {".h", ".cc"}
TEXT = CODE | {".cmake", ".pml", ".py", ".sh", ".md", ".txt", ".json", ".in", ""}


@dataclasses.dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}"


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        files = [p for p in self.root.iterdir() if p.is_file() and not p.name.startswith(".git")]
        for folder in SCANNED:
            files += [p for p in (self.root / folder).rglob("*") if p.is_file()]
        self.text = {}
        for path in files:
            if path.suffix in TEXT and not GENERATED.intersection(path.parts):
                name = path.relative_to(self.root).as_posix()
                self.text[name] = path.read_text(encoding="utf-8")
        self.code = {n: t for n, t in self.text.items() if pathlib.Path(n).suffix in CODE}
        self.bare = {n: strip(t) for n, t in self.code.items()}
        self.documents = {n: t for n, t in self.text.items() if n.endswith(".md")}


TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/
      | R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)"
      | "(?:\\.|[^"\\\n])*" | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""", re.S | re.X)


def strip(text):
    """The code without comments and contents of literals, line for line."""
    def blank(match):
        token = match.group(0)
        lines = "\n" * token.count("\n")
        return lines if token.startswith("/") else '""' + lines
    return TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def matches(path, places):
    return any(path == place or path.startswith(place + "/") for place in places)


# ---- who may use whom --------------------------------------------------------------------------

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def folder_of(path):
    return max((f for f in FOLDERS if path.startswith(f + "/")), key=len, default=None)


def part_of(name):
    """Which part of ours `#include "name"` means, or nothing."""
    if name.startswith("holdfast/"):
        return "include"
    top, _, rest = name.partition("/")
    if top == "engine":  # what lies in the folder itself is the seam, and what engines share
        return "engine/" + rest.partition("/")[0] if "/" in rest else "seam"
    return top if rest else None


def library_of(name):
    for prefix, library in LIBRARIES.items():
        if name.startswith(prefix):
            return library
    # The standard library's headers have neither folder nor suffix.
    return "posix" if "/" in name or name.endswith(".h") else None


def check_includes(tree):
    for path, text in tree.code.items():
        folder = folder_of(path)
        if folder is None:
            yield Finding(path, 1, "is in no folder of the table in tools/tidy.py")
            continue
        ours, libraries = FOLDERS[folder]
        if ours == "anything":
            continue
        for match in INCLUDE.finditer(text):
            quote, name = match.groups()
            line = line_of(text, match.start())
            if quote == '"' or name.startswith("holdfast/"):
                if part_of(name) not in ours:
                    yield Finding(path, line, f"{folder} may not use {name}")
            elif (library := library_of(name)) and library not in libraries:
                yield Finding(path, line, f"{folder} may not use {library} ({name})")


# ---- sizes -------------------------------------------------------------------------------------

TYPE_HEAD = re.compile(r"^(inline |export )?\s*(namespace|class|struct|union|enum|extern)\b")
TEMPLATE_HEAD = re.compile(r"^template\s*<[^{;]*?>\s*(requires[^{;]*\s)?(?=\w)")


def is_function(head):
    """Whether what stands before a brace begins a function's body."""
    head = TEMPLATE_HEAD.sub("", head.strip())
    if "(" not in head:
        return False
    return not TYPE_HEAD.match(head) or head.endswith(")")


def functions(bare):
    """(first line, last line) of each outermost function body. A measure, not a parser."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"), bare,
                  flags=re.M)
    stack, head_start, line, function_depth = [], 0, 1, None
    for i, c in enumerate(code):
        if c == "\n":
            line += 1
        elif c == "{":
            if function_depth is None and is_function(code[head_start:i]):
                function_depth = len(stack)
            stack.append(line)
        elif c == "}" and stack:
            first = stack.pop()
            if function_depth == len(stack):
                function_depth = None
                yield first, line
        if c in "{};":
            head_start = i + 1
        elif c == ":" and code[i - 8:i].endswith(("public", "private", "protected")):
            head_start = i + 1


def check_sizes(tree):
    for path, text in tree.text.items():
        suffix = pathlib.Path(path).suffix
        if suffix not in CODE | {".pml", ".py", ".cmake"}:
            continue
        lines = text.splitlines()
        if len(lines) > MAX_FILE_LINES:
            yield Finding(path, 1, f"has {len(lines)} lines; the limit is {MAX_FILE_LINES}")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                yield Finding(path, number, f"is {len(line)} columns wide, over {MAX_COLUMNS}")
    for path, bare in tree.bare.items():
        for first, last in functions(bare):
            if last - first + 1 > MAX_FUNCTION_LINES:
                yield Finding(path, first, f"a function of {last - first + 1} lines; "
                                           f"the limit is {MAX_FUNCTION_LINES}")


# ---- constructs --------------------------------------------------------------------------------

def check_banned(tree):
    for path, bare in tree.bare.items():
        for pattern, instead, places in BANNED:
            if matches(path, places):
                continue
            for match in re.finditer(pattern, bare):
                yield Finding(path, line_of(bare, match.start()),
                              f"use {instead}, not {match.group(0)}")
    for path, text in tree.text.items():
        if path == "tools/tidy.py":
            continue
        for match in UNFINISHED.finditer(text):
            yield Finding(path, line_of(text, match.start()),
                          f"{match.group(0)}: finish it, or say why it is right as it is")
        for match in MACHINE_PATH.finditer(text):
            yield Finding(path, line_of(text, match.start()), "a path of one machine")


def check_version(tree):
    """The build and the header name the same release."""
    project = re.search(r"project\(holdfast VERSION ([\d.]+)", tree.text.get("CMakeLists.txt", ""))
    header = re.search(r'kVersion = "([^"]+)"', tree.text.get("include/holdfast/version.h", ""))
    if project and header and project.group(1) != header.group(1):
        yield Finding("include/holdfast/version.h", 1, f"is {header.group(1)}, but CMakeLists.txt "
                                                       f"says {project.group(1)}")


def check_headers(tree):
    for path, text in tree.code.items():
        # What a header says holds for the source file of the same name.
        header = path.removesuffix(".cc") + ".h"
        if not text.startswith("//") and (path.endswith(".h") or header not in tree.code):
            yield Finding(path, 1, "begins without saying what the file is responsible for")
        if path.endswith(".h") and "#pragma once" not in text:
            yield Finding(path, 1, "a header without #pragma once")


# ---- rules and their tests ---------------------------------------------------------------------

TEST = re.compile(r"\bTEST(?:_F|_P)?\s*\(\s*\w+\s*,\s*(\w+)\s*\)")
RULE_ID = re.compile(r"(?:^|_)([A-Z]{2,}_\d+)(?=_|$)")


def check_rules(tree):
    tested = set()
    for path, bare in tree.bare.items():
        if not path.startswith("tests/"):
            continue
        for match in TEST.finditer(bare):
            for rule in RULE_ID.findall(match.group(1)):
                tested.add(rule)
                if rule not in RULES:
                    yield Finding(path, line_of(bare, match.start()), f"there is no rule {rule}")
    for rule in RULES:
        if rule not in tested:
            yield Finding("tests", 1, f"no test is named after {rule.replace('_', '-')}")


# ---- documents ---------------------------------------------------------------------------------

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text):
    blank = lambda m: "\n" * m.group(0).count("\n")
    text = re.sub(r"^(```|~~~).*?^\1", blank, text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    for title in re.findall(r"^#+\s+(.*)$", without_code(text), re.M):
        yield re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def check_link(tree, path, target):
    """What is wrong with a link, or nothing."""
    name, _, anchor = target.partition("#")
    file = (tree.root / path).parent / name if name else tree.root / path
    if not file.exists():
        return f"links to {target}, which does not exist"
    if anchor and file.suffix == ".md":
        if anchor not in anchors(file.read_text(encoding="utf-8")):
            return f"links to {target}, but there is no such heading"
    return None


def check_documents(tree):
    for path, text in tree.documents.items():
        prose = without_code(text)
        titles = re.findall(r"^# .+$", prose, re.M)
        if len(titles) != 1:
            yield Finding(path, 1, f"has {len(titles)} titles (#); a document has one")
        for match in LINK.finditer(prose):
            target = match.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            if problem := check_link(tree, path, target):
                yield Finding(path, line_of(prose, match.start()), problem)
        for match in TEMPORARY_PATH.finditer(text):
            yield Finding(path, line_of(text, match.start()), "a path under /tmp in a document")


# ---- mutants -----------------------------------------------------------------------------------

MUTANT = re.compile(r"\bHF_MUTANT\((\w+)\)")
MUTANT_LIST = "tests/mutants.json"
MUTANT_DOCUMENT = "docs/testing.md"
MUTANT_TABLE = re.compile(r"<!-- mutants: written.*?<!-- mutants: end -->", re.S)


def check_mutants(tree):
    """The code, the list and the document name the same ones, and only the build of asan has
    them."""
    listed = {entry["name"] for entry in json.loads(tree.text.get(MUTANT_LIST, "[]"))}
    in_code = set()
    for path, bare in tree.bare.items():
        for match in MUTANT.finditer(bare):
            if path == "src/base/mutant.h":
                continue
            in_code.add(match.group(1))
            if match.group(1) not in listed:
                yield Finding(path, line_of(bare, match.start()),
                              f"the mutant {match.group(1)} is not in {MUTANT_LIST}")
    for name in sorted(listed - in_code):
        yield Finding(MUTANT_LIST, 1, f"the mutant {name} is in no code")
    found = MUTANT_TABLE.search(tree.text.get(MUTANT_DOCUMENT, ""))
    rows = set(re.findall(r"^\| (\w+) \|", found.group(0), re.M)) if found else set()
    if rows - {"mutant"} != listed:
        yield Finding(MUTANT_DOCUMENT, 1, "the table of mutants is not that of tests/mutants.json: "
                                          "tools/mutants.py --write")
    presets = json.loads(tree.text.get("CMakePresets.json", "{}")).get("configurePresets", [])
    for preset in presets:
        if preset["name"] != "asan" and "HOLDFAST_MUTANTS" in preset.get("cacheVariables", {}):
            yield Finding("CMakePresets.json", 1, f"{preset['name']} would have mutants")


# ---- format ------------------------------------------------------------------------------------

FORMAT_VERSION = "14"  # Debian 12's; other versions lay out some lines differently


def check_format(tree):
    if shutil.which("clang-format") is None or not (tree.root / ".clang-format").exists():
        return
    version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    if f"version {FORMAT_VERSION}." not in version:
        return
    names = sorted(tree.code)
    run = subprocess.run(["clang-format", "--dry-run", *names], cwd=tree.root, capture_output=True,
                         text=True)
    bad = {}
    for name, line in re.findall(r"^(\S+?):(\d+):\d+: warning", run.stderr, re.M):
        bad.setdefault(name, int(line))
    for name, line in bad.items():
        yield Finding(name, line, "is not formatted: make format")


CHECKS = [check_includes, check_sizes, check_banned, check_version, check_headers, check_rules,
          check_documents, check_mutants, check_format]


def findings_of(root):
    tree = Tree(root)
    return [finding for check in CHECKS for finding in check(tree)]


# ---- self-test ---------------------------------------------------------------------------------

HEADER = "// Why.\n#pragma once\n"
LONG_BODY = "  Step();\n" * 69

# (file, its text, a piece of the finding it must cause). Each is added alone to a clean tree.
BAD = [
    ("include/holdfast/a.h", HEADER + '#include "base/text.h"\n', "include/holdfast may not use"),
    ("include/holdfast/a.h", HEADER + "#include <fmt/format.h>\n", "may not use fmt"),
    ("src/rules/a.h", HEADER + '#include "store/x.h"\n', "src/rules may not use store/x.h"),
    ("src/rules/a.h", HEADER + '#include "engine/engine.h"\n', "may not use engine/engine.h"),
    ("src/rules/a.h", HEADER + "#include <unistd.h>\n", "may not use posix"),
    ("src/engine/memory/a.h", HEADER + '#include "engine/sqlite/x.h"\n', "engine/sqlite/x.h"),
    ("src/engine/sqlite/a.h", HEADER + '#include "store/x.h"\n', "may not use store/x.h"),
    ("src/store/a.h", HEADER + '#include "engine/memory/x.h"\n', "may not use engine/memory"),
    ("src/net/a.h", HEADER + '#include "rules/x.h"\n', "src/net may not use rules/x.h"),
    ("src/store/a.h", HEADER + "#include <boost/asio.hpp>\n", "may not use boost"),
    ("examples/a.cc", '// Why.\n#include "base/text.h"\n', "examples may not use base/text.h"),
    ("src/other/a.h", HEADER, "is in no folder"),
    ("src/rules/a.h", HEADER + "int x;\n" * 600, "has 602 lines"),
    ("src/rules/a.h", HEADER + "// " + "x" * 98 + "\n", "101 columns"),
    ("src/rules/a.cc", "// Why.\nvoid F(int a) {\n" + LONG_BODY + "}\n", "a function of 71 lines"),
    ("src/rules/a.cc", "// Why.\nstruct S {\n  int F() const {\n" + LONG_BODY + "  }\n};\n",
     "a function of 71 lines"),
    ("src/rules/a.cc", "// Why.\ntemplate <typename T>\nC::C(T t) : a_(t) {\n" + LONG_BODY + "}\n",
     "a function of 71 lines"),
    ("src/rules/a.cc", "// Why.\nstd::mutex m;\n", "use base::Mutex, not std::mutex"),
    ("src/rules/a.cc", "// Why.\nstd::lock_guard l(m);\n", "use base::MutexLock"),
    ("src/rules/a.cc", "// Why.\nstd::condition_variable c;\n", "use base::CondVar"),
    ("src/rules/a.cc", "// Why.\nint x = (t.detach(), 0);\n", "not detach("),
    ("tests/a/a.cc", "// Why.\nint x = (std::this_thread::sleep_for(s), 0);\n", "not sleep_for("),
    ("tests/a/a.cc", "// Why.\nint x = usleep(5);\n", "not usleep("),
    ("src/rules/a.cc", "// Why.\nint x = rand();\n", "not rand("),
    ("src/rules/a.cc", "// Why.\nvoid F() { assert(x); }\n", "use HF_CHECK"),
    ("src/rules/a.cc", "// Why.\nvoid F() { try { } catch (...) { } }\n", "not catch (...)"),
    ("src/rules/a.cc", "// Why.\nauto t = std::chrono::system_clock::now();\n", "Clock"),
    ("src/rules/a.cc", "// Why.\n// TODO: later\n", "TODO: finish it"),
    ("docs/a.md", "# A\n\nSee /home/ada/notes.\n", "a path of one machine"),
    ("src/rules/a.cc", "int x;\n", "without saying what"),
    ("src/rules/a.h", "// Why.\nint x;\n", "without #pragma once"),
    ("tests/a/b.cc", "// Why.\nTEST(A, JOB_14_IsNew) {}\n", "there is no rule JOB_14"),
    ("tests/a/rules.cc", "// Why.\nTEST(A, JOB_1_Only) {}\n", "no test is named after JOB-13"),
    ("include/holdfast/version.h", HEADER + 'const char* kVersion = "1.2";\n', "is 1.2, but"),
    ("docs/a.md", "No title.\n", "has 0 titles"),
    ("docs/a.md", "# A\n\n# B\n", "has 2 titles"),
    ("docs/a.md", "# A\n\n[b](b.md)\n", "links to b.md, which does not exist"),
    ("docs/a.md", "# A\n\n[b](../README.md#gone)\n", "there is no such heading"),
    ("docs/a.md", "# A\n\nWrite to /tmp/x.db.\n", "a path under /tmp"),
    ("src/rules/a.cc", "// Why.\nbool x = HF_MUTANT(odd);\n", "the mutant odd is not in"),
    ("tests/mutants.json", '[{"name": "gone"}]', "the mutant gone is in no code"),
    ("tests/mutants.json", '[{"name": "gone"}]', "the table of mutants is not that of"),
    ("CMakePresets.json", '{"configurePresets": [{"name": "release", "cacheVariables": '
                          '{"HOLDFAST_MUTANTS": "ON"}}]}', "release would have mutants"),
]
GOOD = {
    "README.md": "# Product\n\n## Use it\n\n[a](docs/use.md) [b](#use-it) [c](https://a.example)\n"
                 "\n```\n# a comment, [not](a-link)\n```\n",
    "CMakeLists.txt": "project(holdfast VERSION 0.1.0 LANGUAGES CXX)\n",
    "docs/use.md": "# Use\n\n[back](../README.md#use-it)\n",
    "include/holdfast/x.h": HEADER + '#include <vector>\n\n#include "holdfast/y.h"\n',
    "src/engine/sqlite/x.cc":
        '// Why: std::mutex is named here, and "assert(x)" below, in text alone.\n'
        '#include <sqlite3.h>\n\n#include "engine/engine.h"\n#include "wire/encode.h"\n'
        'static_assert(sizeof(int) == 4);\n'
        'const char* text = "assert(x) rand() " R"sql(system_clock::now {{{ )sql";\n'
        "int big = 1'000'000;\nvoid F(char c = '{') {\n" + LONG_BODY[:-10] + "}\n"
        "struct S {\n" + "  int x;\n" * 80 + "};\n",
    "tests/a/rules.cc": "// Why.\n" + "".join(f"TEST_P(A, {r}_Holds) {{}}\n" for r in RULES),
}


def write(root, files):
    for name, text in files.items():
        path = pathlib.Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def self_test():
    failures = []
    with tempfile.TemporaryDirectory() as root:
        write(root, GOOD)
        failures += [f"a clean tree: {finding}" for finding in findings_of(root)]
    for name, text, expected in BAD:
        with tempfile.TemporaryDirectory() as root:
            write(root, GOOD | {name: text})
            found = [str(finding) for finding in findings_of(root)]
            if not any(expected in finding for finding in found):
                failures.append(f"{name} did not cause {expected!r} but {found}")
    print("\n".join(failures) or f"tidy: {len(BAD)} kinds of findings are found")
    return bool(failures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    findings = findings_of(arguments.root)
    for finding in findings:
        print(finding)
    print(f"tidy: {len(findings)} findings" if findings else "tidy: nothing to report")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
