"""Exit status 0 if this environment holds exactly what the requirements files pin; else says what differs."""

import re
import sys
from importlib import metadata
from pathlib import Path

FILES = ("requirements.txt", "requirements-nodeps.txt")


def pins():
    """Yields (distribution, version) of every pinned line."""
    for name in FILES:
        for line in (Path(__file__).parent / name).read_text().splitlines():
            match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", line.strip())
            if match:
                yield match.groups()


def main():
    wrong = []
    for name, wanted in pins():
        try:
            found = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            wrong.append(f"{name}: {wanted} wanted, {found}")
    if wrong:
        print("; ".join(wrong), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
