"""Lists the benchmarks: each file of this folder with the first line that it says of itself."""

import ast
import pathlib
import re


def about(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    first = re.match(r"\s*//+\s*(.*)", text)
    return first.group(1) if first else ""


def main():
    here = pathlib.Path(__file__).parent
    files = sorted([*here.glob("*.py"), *here.glob("*.cc")])
    files = [path for path in files if path.name not in ("list.py", "common.py")]
    width = max((len(path.stem) for path in files), default=0)
    print("./dev bench NAME [ARG...]; NAME --help tells its arguments\n")
    for path in files:
        print(f"  {path.stem:<{width}}  {about(path)}")


if __name__ == "__main__":
    main()
