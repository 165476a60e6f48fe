#!/usr/bin/env python3
"""Checks that every relative link of every Markdown page leads to a file, and to a heading in it."""

import argparse
import pathlib
import re
import sys
import urllib.parse

FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(?<!\\)!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
SKIPPED = {"build", "demo", ".git"}


def blank(match):
    return "\n" * match.group(0).count("\n")


def anchors(text):
    """The fragment of each heading, as the common Markdown hosts make it."""
    names, seen = set(), {}
    for heading in HEADING.findall(FENCE.sub(blank, text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def check_page(root, page):
    text = page.read_text(encoding="utf-8")
    body = CODE.sub(lambda m: " " * len(m.group(0)), FENCE.sub(blank, text))
    problems = []
    for link in LINK.finditer(body):
        target = urllib.parse.unquote(link.group(1))
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        where = f"{page.relative_to(root)}:{body.count(chr(10), 0, link.start()) + 1}"
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            problems.append(f"{where}: '{target}' leads nowhere")
        elif fragment and file.suffix == ".md":
            if fragment not in anchors(file.read_text(encoding="utf-8")):
                problems.append(f"{where}: '{target}': no such heading")
    return problems


def check(root):
    problems = []
    for page in sorted(root.rglob("*.md")):
        if not SKIPPED.intersection(page.relative_to(root).parts):
            problems += check_page(root, page)
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    problems = check(parser.parse_args().root.resolve())
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"links: {len(problems)} found")


if __name__ == "__main__":
    main()
