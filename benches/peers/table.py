"""Prints the README's table of numbers from the JSON files that `./x bench` left in out/bench."""

import json
import sys

import common


def shown(value):
    """A number with three significant digits or whole, a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main():
    folder = common.ROOT / "out" / "bench"
    found = sorted(folder.glob("*.json"))
    if not found:
        sys.exit(f"nothing in {folder}: run ./x bench first")
    machines = set()
    print("| measured | value |\n|---|---|")
    for path in found:
        result = json.loads(path.read_text(encoding="utf-8"))
        machines.add(json.dumps([result["machine"], result["versions"]]))
        for name, value in result["rows"].items():
            print(f"| {name} | {shown(value)} |")
        if result["ratio"] is not None:
            print(f"| **{result['title']}: ratio** (`benches/peers/{path.stem}.py`) | **{result['ratio']:.1f}** |")
    for entry in sorted(machines):
        machine, versions = json.loads(entry)
        print(f"\n{machine['cpu']}, {machine['cores']} cores, {machine['system']}; " + ", ".join(f"{k} {v}" for k, v in versions.items()))


if __name__ == "__main__":
    main()
