#!/usr/bin/env python3
"""Writes the pages that repeat what the program says of itself: docs/options.md, docs/commands.md
and the manual page docs/quern.1. With --check it only says whether they are current."""

import argparse
import os
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).parent
WRITTEN = "<!-- Written by `./dev docs` from the program itself. -->\n"
ROW = re.compile(r"^  (\S.*?)(?:  +(.*))?$")


class Program:
    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments):
        return subprocess.run([self.path, *arguments], check=True, capture_output=True,
                              text=True, env={**os.environ, "COLUMNS": "80"}).stdout

    def commands(self):
        """Every command with its subcommands, as word lists, in the order of the help text."""
        for name, summary in rows(section(self("--help"), "commands")):
            yield [name], summary
            for sub, about in rows(section(self(name, "--help"), "Subcommands")):
                yield [name, sub], about


def section(text, title):
    """The indented lines under "title:"."""
    found = re.search(rf"^{title}:\n((?:  .*\n|\n(?=  ))*)", text, re.MULTILINE)
    return found.group(1) if found else ""


def rows(text):
    """(left column, right column) of a help table, continuation lines joined."""
    table = []
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            table.append([row.group(1), row.group(2) or ""])
        elif line.strip() and table:
            table[-1][1] = f"{table[-1][1]} {line.strip()}".strip()
    return table


def options_page(quern):
    return (
        "# Configuration keys\n\n" + WRITTEN + "\n"
        "The same keys in `--config FILE.toml`, in `--set section.key=value`, and in the run folder's\n"
        "`config.resolved.toml`, which shows every value in force and who decided it. `auto` means that an explicit key, then\n"
        "the preset, the size, and the data decide.\n\n" + quern("options", "--markdown")
    )


def commands_page(quern):
    text = "# Commands\n\n" + WRITTEN + f"\n```\n{quern('--help').strip()}\n```\n"
    for words, _ in quern.commands():
        text += f"\n{'#' * (1 + len(words))} {' '.join(['quern', *words])}\n\n"
        text += f"```\n{quern(*words, '--help').strip()}\n```\n"
    return text


def roff(text):
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"))


def man_list(table):
    if not table:
        return ""
    return ".Bl -tag -width Ds\n" + "".join(
        f".It {roff(left)}\n{roff(right)}\n" for left, right in table) + ".El\n"


def man_page(quern):
    version = quern("--version").split()[-1]
    text = (
        '.\\" Written by ./dev docs from the program itself.\n'
        f".Dd November 23, 2026\n.Dt QUERN 1\n.Os \"quern {version}\"\n"
        ".Sh NAME\n.Nm quern\n.Nd train a transformer on your own data, and use it\n"
        ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar argument ...\n"
        ".Sh DESCRIPTION\n.Nm\n"
        "trains a transformer on a person's own data and uses it, natively, in one\nprogram.\n"
        "Training writes a run folder; every other command reads only that.\n"
        ".Pp\nEvery command takes:\n"
        + man_list(rows(section(quern("--help"), "every command takes")))
        + ".Sh COMMANDS\n"
    )
    for words, summary in quern.commands():
        full = quern(*words, "--help")
        usage = re.search(r"^Usage: quern(.*)$", full, re.MULTILINE)
        text += f".Ss {roff(' '.join(words))}\n{roff(summary[:1].upper() + summary[1:])}.\n"
        if usage:
            text += f".Pp\n.Dl {roff('quern' + usage.group(1))}\n"
        table = rows(section(full, "Positionals")) + [
            row for row in rows(section(full, "Options")) if "--help" not in row[0]]
        text += man_list(table)
    text += (
        ".Sh EXIT STATUS\n.Bl -tag -width 3n -compact\n"
        ".It 0\ndone\n.It 1\nfailed: one line on standard error says what, where, and what to do\n"
        ".It 2\nwrong usage\n.It 3\na check found what it looks for\n.El\n"
        ".Sh EXAMPLES\n.Bd -literal -offset indent\n"
        "quern train my.txt \\-\\-time 10m \\-\\-out my\\-run\n"
        "quern generate my\\-run \"Once upon a time\" \\-\\-show\\-probs 5\n"
        ".Ed\n"
    )
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    quern = Program(arguments.program)
    pages = {"options.md": options_page, "commands.md": commands_page, "quern.1": man_page}
    stale = []
    for name, make in pages.items():
        page, text = DOCS / name, make(quern)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not arguments.check:
                page.write_text(text, encoding="utf-8")
    if arguments.check and stale:
        sys.exit(f"reference: not current: {', '.join(stale)}; run ./dev docs")
    print(f"reference: {'wrote ' + ', '.join(stale) if stale else 'current'}")


if __name__ == "__main__":
    main()
