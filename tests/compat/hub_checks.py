"""Python's huggingface_hub and Worldloom on one hub, with one cache: what one pushes the other reads.

The hub is the server of Worldloom's own tests, as a program (tests/examples/hub.rs). So these checks say two things: the server
that those tests rely on speaks what the real client takes for the hub's protocol, and Worldloom's client agrees with it.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

TOKEN = "hf_writer"


@contextlib.contextmanager
def server(program):
    """Runs the server; gives its address. Large files go in parts of 5,000 bytes."""
    process = subprocess.Popen([program, "5000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=10)


def environment(endpoint, home, **more):
    """That of a user of this hub: the clients read it when they start."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    ours = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    # Xet is another protocol, of the real hub's store.
    return kept | ours | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more


def run(words, env):
    """Runs a program to the end; returns what it printed."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=300, env=env)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: exit status {done.returncode}\n{done.stderr.strip()[-2000:]}"
    return done.stdout


def python(code, env):
    """Runs a piece of Python with the client; returns what it printed as JSON."""
    return json.loads(run([sys.executable, "-c", f"import json\nfrom huggingface_hub import HfApi, snapshot_download\n{code}"], env))


def files(folder):
    """Content by path, without hidden files."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    named = ((str(path.relative_to(folder)), path) for path in paths)
    return {name: path.read_bytes() for name, path in named if not any(part.startswith(".") for part in Path(name).parts)}


def inspected(worldloom, address, env):
    """What `worldloom inspect` says, without the place."""
    found = json.loads(run([worldloom, "inspect", address, "--verify", "--json"], env))
    return found | {"dataset": None}


def pushed_by_us(endpoint, worldloom, data, folder):
    """Worldloom pushes; Python sees the commit and downloads the same bytes; then Worldloom needs no network in Python's cache."""
    env = environment(endpoint, folder / "home-a")
    said = json.loads(run([worldloom, "push", data, "hf://you/ours", "--private", "--message", "from Rust", "--json"], env))
    info = python("info = HfApi().dataset_info('you/ours'); print(json.dumps([info.sha, info.private, len(info.siblings)]))", env)
    here = files(data)
    assert info == [said["commit"], True, len(here) + 1], f"{info} of {said}"
    where = python("print(json.dumps(snapshot_download('you/ours', repo_type='dataset')))", env)
    assert files(where) == here, "other bytes came back"
    offline = environment("http://127.0.0.1:9", folder / "home-a", HF_HUB_OFFLINE="1")
    assert inspected(worldloom, "hf://you/ours", offline) == inspected(worldloom, data, env)
    return f"{len(here)} files, {said['sent_bytes']} bytes"


def pushed_by_python(endpoint, worldloom, data, folder):
    """Python uploads, in parts too; Worldloom reads the same, and Python takes it from Worldloom's cache without a network."""
    env = environment(endpoint, folder / "home-b")
    code = f"api = HfApi(); api.create_repo('you/theirs', repo_type='dataset'); print(json.dumps(api.upload_folder(repo_id='you/theirs', repo_type='dataset', folder_path={str(data)!r}).oid))"
    commit = python(code, env)
    assert inspected(worldloom, f"hf://you/theirs@{commit}", env) == inspected(worldloom, data, env)
    assert inspected(worldloom, "hf://you/theirs", env) == inspected(worldloom, data, env)
    offline = environment("http://127.0.0.1:9", folder / "home-b", HF_HUB_OFFLINE="1")
    where = python("print(json.dumps(snapshot_download('you/theirs', repo_type='dataset', local_files_only=True)))", offline)
    assert files(where) == files(data), "the cache holds other bytes"
    again = json.loads(run([worldloom, "push", data, "hf://you/theirs", "--json"], env))
    assert (again["changed_files"], again["commit"]) == (0, commit), f"nothing was to be pushed: {again}"
    return f"{len(files(data))} files"
