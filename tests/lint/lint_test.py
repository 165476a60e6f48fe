#!/usr/bin/env python3
"""Proves that the linters can fail: each rule is broken once in a small tree of its own."""

import pathlib
import tempfile
import unittest

import links
import rooms

CLEAN = {
    "quern/CMakeLists.txt": "foreach(room base data\n  cli)\nendforeach()\n",
    "quern/base/CMakeLists.txt": "quern_room(base LIBS fmt::fmt)\n",
    "quern/data/CMakeLists.txt": "quern_room(data DEPS base LIBS a b)\n",
    "quern/cli/CMakeLists.txt": "quern_room(cli DEPS data)\n",
    "quern/base/a.h": "#pragma once\n#include <string>\n",
    "quern/base/a.cc": '#include "quern/base/a.h"\n#include <nlohmann/json.hpp>\n// printf("x")\n',
    "quern/data/b.cc": '#include "quern/base/a.h"\nauto s = "std::cout";\nvoid f() { snprintf(); }\n',
    "quern/cli/main.cc": '#include "quern/data/b.h"\nint main() { std::puts("x"); }\n',
}


class Tree(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = pathlib.Path(folder.name).resolve()
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return root


class Rooms(Tree):
    def assert_found(self, name, text, message):
        problems = rooms.check(self.tree({**CLEAN, name: text}))
        self.assertEqual(len(problems), 1, problems)
        self.assertTrue(problems[0].startswith(name), problems)
        self.assertIn(message, problems[0])

    def test_clean_tree_passes(self):
        self.assertEqual(rooms.check(self.tree(CLEAN)), [])

    def test_room_below(self):
        self.assert_found("quern/base/c.cc", '\n  # include "quern/data/b.h"\n', "base includes data")

    def test_room_below_in_a_test(self):
        self.assert_found("quern/data/b_test.cc", '#include "quern/cli/x.h"\n', "data includes cli")

    def test_room_below_in_a_subfolder(self):
        self.assert_found("quern/base/cpu/c.h", '#include "quern/data/b.h"\n', "base includes data")

    def test_link_below(self):
        self.assert_found("quern/base/CMakeLists.txt", "quern_room(base DEPS data)", "base links data")

    def test_no_such_room(self):
        self.assert_found("quern/base/c.cc", '#include "quern/cellar/a.h"\n', "names no room")

    def test_room_not_listed(self):
        self.assert_found("quern/cellar/c.cc", "", "'cellar' is not in")

    def test_short_include(self):
        self.assert_found("quern/base/c.cc", '#include "a.h"\n', 'write "quern/base/a.h" in full')

    def test_heavy_header(self):
        self.assert_found("quern/base/c.h", "#include <nlohmann/json.hpp>\n", "in a .cc only")

    def test_printing(self):
        for use in ("std::cout << 1;", 'printf("x");', "std::exit(1);", 'fprintf(stderr, "x");'):
            self.assert_found("quern/data/c.cc", f"\nvoid f() {{ {use} }}\n", "outside cli/")


class Links(Tree):
    def test_good(self):
        root = self.tree({
            "README.md": "[a](docs/a.md#two-words) [b](#top) [c](https://x.example)\n# Top\n`[d](e)`\n"
                         "```\n[f](g)\n```\n",
            "docs/a.md": "## Two `words`\n[up](../README.md)\n",
        })
        self.assertEqual(links.check(root), [])

    def test_no_such_file(self):
        problems = links.check(self.tree({"README.md": "\n[a](docs/a.md)"}))
        self.assertEqual(problems, ["README.md:2: 'docs/a.md' leads nowhere"])

    def test_no_such_heading(self):
        problems = links.check(self.tree({"README.md": "[a](#b)\n# C\n"}))
        self.assertEqual(problems, ["README.md:1: '#b': no such heading"])


if __name__ == "__main__":
    unittest.main()
