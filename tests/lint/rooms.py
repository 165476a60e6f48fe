#!/usr/bin/env python3
"""Checks the house rules that a compiler does not: who may include whom, and who may print.

A room may include only itself and the rooms before it in the list of quern/CMakeLists.txt; the
same holds for the rooms it links. Heavy third-party headers stay out of the headers that are
installed (not those for tests, not the -inl.h of one kernel).
Only cli/ prints or exits.
"""

import argparse
import pathlib
import re
import sys

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
ROOM_LIST = re.compile(r"foreach\(room\s+([a-z\s]+)\)")
ROOM_DEPS = re.compile(r"quern_room\(\s*(\w+)(?:\s+DEPS\s+([a-z\s]+?))?\s*(?:LIBS[^)]*)?\)")
HEAVY = re.compile(r"^(nlohmann/(?!json_fwd)|simdjson|toml\+\+/|CLI/|hwy/|oneapi/dnnl|google/protobuf)")
PRINTS = re.compile(
    r"\bstd::(cout|cerr|puts|printf|exit|quick_exit)\b|\bfmt::print\b"
    r"|(?<![\w:.>])(printf|puts|exit|_exit)\s*\(|\bfprintf\s*\(\s*std(out|err)"
)
COMMENT_OR_STRING = re.compile(
    r'R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL
)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def blank(text):
    """The text with comments and strings emptied, line ends kept."""
    return COMMENT_OR_STRING.sub(lambda m: "\n" * m.group(0).count("\n"), text)


def read_order(root):
    found = ROOM_LIST.search((root / "quern/CMakeLists.txt").read_text(encoding="utf-8"))
    if not found:
        raise SystemExit("rooms: quern/CMakeLists.txt has no foreach(room …) list")
    return {room: place for place, room in enumerate(found.group(1).split())}


def check_source(root, path, order):
    relative = path.relative_to(root)
    room = relative.parts[1]
    text = path.read_text(encoding="utf-8")
    problems = []

    def problem(position, message):
        problems.append(f"{relative}:{line_of(text, position)}: {message}")

    for include in INCLUDE.finditer(text):
        quoted, name = include.group(1) == '"', include.group(2)
        if name.startswith("quern/"):
            parts = name.split("/")
            other = parts[1]
            if len(parts) < 3 or other not in order:
                problem(include.start(), f"'{name}' names no room")
            elif order[other] > order[room]:
                problem(
                    include.start(),
                    f"{room} includes {other}, which is below it; move the code to a room "
                    "that both may use, or pass what is needed in",
                )
        elif quoted and (path.parent / name).exists():
            problem(include.start(), f"write \"{(relative.parent / name).as_posix()}\" in full")
        is_interface = path.suffix == ".h" and not re.search("-inl$|test", path.stem)
        if is_interface and HEAVY.match(name):
            problem(include.start(), f"<{name}> is heavy: include it in a .cc only")
    if room != "cli":
        code = blank(text)
        for use in PRINTS.finditer(code):
            word = use.group(0).strip("( ")
            problems.append(
                f"{relative}:{line_of(code, use.start())}: '{word}' outside cli/: "
                "throw a quern::Error or take a Reporter"
            )
    return problems


def check_links(root, order):
    problems = []
    for path in sorted(root.glob("quern/*/CMakeLists.txt")):
        for room, deps in ROOM_DEPS.findall(path.read_text(encoding="utf-8")):
            for other in deps.split():
                if order.get(other, len(order)) > order.get(room, -1):
                    problems.append(f"{path.relative_to(root)}: {room} links {other}, below it")
    return problems


def check(root):
    order = read_order(root)
    problems = check_links(root, order)
    for path in sorted(root.glob("quern/*/**/*")):
        if path.suffix not in (".h", ".cc"):
            continue
        room = path.relative_to(root).parts[1]
        if room in order:
            problems += check_source(root, path, order)
        else:
            problems.append(f"{path.relative_to(root)}: '{room}' is not in quern/CMakeLists.txt")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    problems = check(parser.parse_args().root.resolve())
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"rooms: {len(problems)} found")


if __name__ == "__main__":
    main()
