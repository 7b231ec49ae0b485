"""What the side-by-side scripts share: the machine, Worldloom's half, pairs and medians, the table."""

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENES = ROOT / "benches" / "scenes"


def arguments(description, **numbers):
    """Command line: --json FILE, --pairs N, and one integer option for each keyword with its default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE", help="also write the result here")
    parser.add_argument("--peer-only", action="store_true", help="measure the other tool alone")
    for name, (default, text) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default {default})")
    return parser.parse_args()


def cpu_seconds():
    """User and system time of this process with all its threads, and of the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def binary():
    """The program that is measured."""
    return os.environ.get("WORLDLOOM", str(ROOT / "target" / "release" / "worldloom"))


def worldloom(*words):
    """Runs `worldloom … --json` and returns what it printed, parsed."""
    done = subprocess.run([binary(), *map(str, words), "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def machine():
    """Processor, cores and system, for the head of every result."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}"}


def versions(*distributions):
    """Versions of Python packages."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in distributions}}


def median(values):
    """Median of the values that are there; None for none."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def pairs(count, ours, theirs):
    """Runs the two measurements alternately `count` times, so that both see the same noise of the machine."""
    results = []
    for _ in range(count):
        other = theirs()
        own = ours() if ours else None
        results.append((own, other))
    return results


@contextlib.contextmanager
def quiet():
    """Keeps what libraries below Python write to stderr from the screen (x264's statistics of every episode, which
    lerobot's encoder lets through); shows it if the block fails."""
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            log.seek(0)
            os.write(screen, log.read()[-10_000:])
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)


def record(path, title, settings, packages, rows, ratio=None, target=None):
    """Writes a result as JSON, with the machine and the versions, in the form that `table.py` reads."""
    result = {
        "title": title,
        "machine": machine(),
        "versions": versions(*packages),
        "settings": settings,
        "rows": rows,
        "ratio": ratio,
        "target": target,
    }
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def conclude(args, title, settings, packages, rows, ratio=None, target=None):
    """Prints the table, writes the JSON, and returns the exit status: 1 if the target was missed."""
    result = record(args.json, title, settings, packages, rows, ratio, target)
    print(title)
    print(f"  machine   {result['machine']['cpu']}, {result['machine']['cores']} cores, {result['machine']['system']}")
    print(f"  versions  {', '.join(f'{name} {version}' for name, version in result['versions'].items())}")
    for name, value in settings.items():
        print(f"  {name:<9} {value}")
    width = max(len(name) for name in rows)
    for name, value in rows.items():
        shown = "–" if value is None else f"{value:,.1f}" if isinstance(value, float) else value
        print(f"  {name:<{width}}  {shown}")
    if ratio is not None:
        verdict = "" if target is None else f" (wanted: {target})"
        print(f"  ratio: {ratio:.1f}{verdict}")
    return int(ratio is not None and target is not None and ratio < target)
