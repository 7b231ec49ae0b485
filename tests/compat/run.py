"""Real robots in, the real lerobot out. Run by `./x compat`, which makes its environment.

For each robot: a scenario is written, `worldloom generate` records it, and the dataset is read by
lerobot 0.6.1 and by independent readers, and compared with what was recorded. Then every scenario of
the library, and the other codecs. One line per check; the last line counts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import av
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

import controls
import hub_checks
import label_checks as labels
import lerobot_checks as checks
import robots

ROOT = Path(__file__).resolve().parents[2]
SITE_PACKAGES = Path(sysconfig.get_paths()["purelib"])
EPISODES = 2
BALL_RADIUS_M = 0.08
# Hard coloured edges lose half of their chroma in 4:2:0; the luma, which keeps all pixels, must be good.
LUMA_DB = 38.0


class Tally:
    """Runs checks, prints a line for each, counts."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, name, run, *arguments):
        """Runs one check; an exception of any kind fails it. Returns True if it passed."""
        start = time.monotonic()
        try:
            result = run(*arguments)
        except Exception as error:  # the peers raise all kinds
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:2000]}", flush=True)
            return False
        self.passed += 1
        shown = "" if result is None else f": {result}"
        print(f"PASS {name}{shown} ({time.monotonic() - start:.1f} s)", flush=True)
        return True


def worldloom(*words):
    """Runs the command line; returns what it printed."""
    binary = os.environ.get("WORLDLOOM", str(ROOT / "target" / "release" / "worldloom"))
    done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"worldloom {' '.join(map(str, words))}: exit status {done.returncode}\n{done.stderr.strip()[-1500:]}"
    return done.stdout


def generate(scenario, out, *more):
    """Records a dataset; returns frames and episodes as the dataset says."""
    worldloom("generate", scenario, "--episodes", EPISODES, "--seed", 5, "--out", out, "--json", *more)
    meta = checks.info(out)
    return f"{meta['total_episodes']} episodes, {meta['total_frames']} frames"


def replays(out):
    """Every episode, rebuilt by digest."""
    for episode in range(EPISODES):
        worldloom("replay", out, "--episode", episode)


def luma(pictures):
    """Rec. 601 luma."""
    return np.asarray(pictures, np.float64) @ [0.299, 0.587, 0.114]


def video_shows_what_was_rendered(video, lossless):
    """The encoded frames are the rendered ones, in their order: each is nearest to its own picture."""
    meta, rows, found = checks.info(video), checks.episodes(video), checks.Videos(video)
    plain, exact = checks.columns(video), checks.columns(lossless)
    for name in ("observation.state", "action", "next.reward"):
        if name in plain:
            assert np.array_equal(plain[name], exact[name]), f"{name} depends on the codec"
    worst = np.inf
    for camera in checks.cameras(video):
        raw = np.stack([labels.picture(row["bytes"]) for row in exact[camera]])
        for row in rows:
            pictures = luma(found.episode(row, camera, meta["fps"]))
            references = luma(raw[row["dataset_from_index"] : row["dataset_to_index"]])
            errors = ((pictures[:, None] - references[None]) ** 2).mean((2, 3))
            own = np.diagonal(errors)
            nearest = errors.min(1)
            assert (own <= nearest + 0.5).all(), f"{camera}, episode {row['episode_index']}: frames {np.nonzero(own > nearest + 0.5)[0]} show another instant"
            worst = min(worst, 10 * np.log10(255**2 / max(own.mean(), 1e-9)))
    assert worst >= LUMA_DB, f"expected at least {LUMA_DB} dB of luma, found {worst:.1f} dB"
    return f"luma of {worst:.1f} dB or more"


def robot(tally, entry, folder):
    """Everything about one robot."""
    name, out, lossless = entry.name, folder / entry.name, folder / f"{entry.name}-png"
    scenario = folder / f"{name}.yaml"
    scenario.write_text(robots.scenario(entry), encoding="utf-8")
    assets = ["--assets", SITE_PACKAGES]
    if not tally.check(f"{name}: generates", generate, scenario, out, *assets):
        return
    tally.check(f"{name}: replays by digest", replays, out)
    lerobot(tally, name, out)
    if tally.check(f"{name}: generates with png", generate, scenario, lossless, *assets, "--codec", "png", "--labels", "none"):
        tally.check(f"{name}: the video shows what was rendered", video_shows_what_was_rendered, out, lossless)
        tally.check(f"{name}: lerobot gives png exactly", png_is_exact, lossless)
    read = labels.Labels(out)
    tally.check(f"{name}: every frame has its labels", labels.every_frame_has_its_labels, read, checks.episodes(out))
    tally.check(f"{name}: depths and normals are those of geometry", labels.depths_and_normals_are_those_of_geometry, read, BALL_RADIUS_M)
    tally.check(f"{name}: flow is rigid motion", labels.flow_is_rigid_motion, read)
    tally.check(f"{name}: boxes hold the visible pixels", labels.boxes_hold_the_visible_pixels, read)
    tally.check(f"{name}: contacts push", labels.contacts_are_finite_and_push, read)
    if not entry.own_floor:  # those robots may run into the ball
        tally.check(f"{name}: a resting ball is held by its weight", labels.a_resting_ball_is_held_by_its_weight, read, BALL_RADIUS_M)
    tally.check(f"{name}: stays in the world", labels.robots_stay_in_the_world, read, -0.05, 2.5)
    tally.check(f"{name}: keeps its joint limits", lambda: labels.joints_keep_their_limits(read.joint_positions(), robots.limits(entry, SITE_PACKAGES)))


def lerobot(tally, name, out):
    """What holds for every dataset."""
    for backend in ("pyav", "torchcodec"):
        tally.check(f"{name}: lerobot gives every frame ({backend})", checks.frames_are_what_was_recorded, out, backend)
    tally.check(f"{name}: statistics", checks.statistics_are_those_of_the_data, out)
    tally.check(f"{name}: batches with history", checks.batches_with_history_come, out)
    tally.check(f"{name}: inputs of a policy", checks.policies_see_pictures_state_and_action_alone, out)
    tally.check(f"{name}: mandatory features", checks.mandatory_features_have_their_types, out)


def png_is_exact(root):
    """lerobot's tensors of PNG pictures are the bytes in the data files."""
    dataset, exact = checks.load(root), checks.columns(root)
    for camera in checks.cameras(root):
        for index in range(len(dataset)):
            got = np.rint(dataset[index][camera].permute(1, 2, 0).numpy() * 255)
            assert np.array_equal(got, labels.picture(exact[camera][index]["bytes"])), f"{camera}, frame {index} differs"


def library(tally, folder):
    """Every scenario that ships."""
    listing = json.loads(worldloom("list", "--json"))
    names = [entry["name"] for entry in listing["scenarios"]]
    assert len(names) >= 10, f"expected at least ten scenarios, found {names}"
    for name in names:
        out = folder / name
        if tally.check(f"{name}: generates", generate, name, out, "--set", "engine.duration='2 s'"):
            lerobot(tally, name, out)
            tally.check(f"{name}: replays by digest", replays, out)


def codecs(tally, folder):
    """AV1 as H.264."""
    out, lossless = folder / "balls-av1", folder / "balls-png"
    if tally.check("bouncing_balls: generates with av1", generate, "bouncing_balls", out, "--codec", "av1", "--set", "engine.duration='1 s'"):
        lerobot(tally, "bouncing_balls av1", out)
        tally.check("bouncing_balls: generates with png", generate, "bouncing_balls", lossless, "--codec", "png", "--set", "engine.duration='1 s'")


def merged_by_lerobot(tally, folder):
    """lerobot's own tools merge two of our datasets into one, which then loads."""
    from lerobot.datasets.aggregate import aggregate_datasets

    def merge():
        parts = []
        for seed in (1, 2):
            out = folder / f"part-{seed}"
            worldloom("generate", "bouncing_balls", "--episodes", 1, "--seed", seed, "--out", out, "--set", "engine.duration='1 s'")
            parts.append(out)
        whole = folder / "whole"
        aggregate_datasets(repo_ids=[f"compat/{part.name}" for part in parts], aggr_repo_id="compat/whole", roots=parts, aggr_root=whole)
        return checks.frames_are_what_was_recorded(whole, "pyav")

    tally.check("lerobot merges two datasets of ours", merge)


def inspected(root):
    """`worldloom inspect` of a dataset that lerobot wrote says what lerobot put in."""
    found, meta = json.loads(worldloom("inspect", root, "--json")), checks.info(root)
    assert found["origin"] is None, f"expected no origin of ours, found {found['origin']}"
    counts = (found["episodes"], found["frames"], found["fps"])
    expected = (controls.EPISODES, controls.EPISODES * controls.FRAMES, controls.FPS)
    assert counts == expected, f"expected {expected} episodes, frames and fps, found {counts}"
    features = {feature["key"]: (feature["dtype"], feature["shape"]) for feature in found["features"]}
    declared = {key: (feature["dtype"], list(feature["shape"])) for key, feature in meta["features"].items()}
    assert features == declared, f"expected {declared}, found {features}"


def foreign(tally, folder):
    """Datasets that lerobot wrote, in its three ways to keep pictures, are read by worldloom."""
    for codec in ("h264", "av1", "png"):
        root = folder / f"foreign-{codec}"
        if tally.check(f"lerobot writes {codec}", controls.write, root, codec):
            tally.check(f"worldloom inspects lerobot's {codec}", inspected, root)


def learned(root, model, dream):
    """A world model trains for a few steps on the dataset, dreams from it, is scored on it; lerobot reads the dream."""
    small = ("image=32", "window=4", "batch=2", "model.dim=32", "model.depth=2", "model.heads=2", "model.hidden=32")
    sets = [word for setting in small for word in ("--set", setting)]
    worldloom("train", "video", "--data", root, "--out", model, "--steps", 4, *sets)
    worldloom("dream", model, "--data", root, "--episode", 1, "--frames", 6, "--out", dream)
    scores = json.loads(worldloom("eval", model, "--data", root, "--frames", 6, "--json"))
    assert scores["free"]["psnr"] > 0, scores["free"]
    meta = checks.info(dream)
    assert (meta["total_episodes"], meta["total_frames"]) == (1, 10), meta
    dataset = LeRobotDataset("peer/dream", root=dream)
    assert len(dataset) == 10 and dataset[9]["action"].shape[-1] == meta["features"]["action"]["shape"][0]
    return f"{len(checks.info(root)['features'])} features, {scores['windows']} windows"


def models(tally, folder):
    """World models of datasets that MuJoCo played and lerobot wrote."""
    script = ROOT / "benches" / "peers" / "mujoco_dataset.py"
    for environment, cameras, codec in (("reacher", 1, "h264"), ("pusher", 2, "av1"), ("reacher", 1, "image")):
        name = f"{environment}-{codec}"
        root = folder / name
        words = [sys.executable, script, environment, "--episodes", "4", "--frames", "20", "--cameras", str(cameras)]
        made = subprocess.run([*words, "--codec", codec, "--out", root], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            tally.failed += 1
            print(f"FAIL {name}: {made.stderr.strip()[-1500:]}", flush=True)
            continue
        tally.check(f"a world model learns {name}", learned, root, folder / f"{name}-model", folder / f"{name}-dream")


def hub(tally, folder):
    """Datasets to and from a hub, beside Python's client."""
    binary = Path(os.environ.get("WORLDLOOM", str(ROOT / "target" / "release" / "worldloom")))
    data = folder / "hub-data"
    if not tally.check("a dataset for the hub", generate, "tabletop_push", data, "--set", "engine.duration='1 s'"):
        return
    with hub_checks.server(binary.parent / "examples" / "hub") as endpoint:
        tally.check("worldloom pushes, huggingface_hub reads", hub_checks.pushed_by_us, endpoint, binary, data, folder)
        tally.check("huggingface_hub pushes, worldloom reads", hub_checks.pushed_by_python, endpoint, binary, data, folder)


def perceptual(tally):
    """The networks whose weights a user brings compute what torchvision and PyTorch compute."""
    sys.path.insert(0, str(ROOT / "tests" / "it" / "parity"))
    import perceptual as reference

    tally.check("LPIPS and I3D in PyTorch give what the tests of models/ expect", reference.compare)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help="controls, the name of a robot, library, codecs, merge, foreign, models, hub, perceptual; all of them if none is named")
    parser.add_argument("--keep", metavar="DIR", help="write the datasets here and keep them")
    args = parser.parse_args()
    av.logging.set_level(av.logging.ERROR)
    tally = Tally()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="worldloom-compat-"))
    folder.mkdir(parents=True, exist_ok=True)
    groups = {"controls": lambda: tally.check("controls: the checks accept lerobot's own dataset and notice damage", controls.passes_and_fails, folder / "controls")}
    for entry in robots.ROBOTS:
        groups[entry.name] = lambda entry=entry: robot(tally, entry, folder)
    groups |= {"library": lambda: library(tally, folder), "codecs": lambda: codecs(tally, folder), "merge": lambda: merged_by_lerobot(tally, folder), "foreign": lambda: foreign(tally, folder), "models": lambda: models(tally, folder), "hub": lambda: hub(tally, folder), "perceptual": lambda: perceptual(tally)}
    unknown = set(args.groups) - set(groups)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(groups)}")
    try:
        for name in args.groups or groups:
            try:
                groups[name]()
            except Exception as error:  # a group that can't go on is one failure more
                tally.failed += 1
                print(f"FAIL {name}: {type(error).__name__}: {str(error)[:2000]}", flush=True)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return int(tally.failed > 0 or tally.passed == 0)


if __name__ == "__main__":
    sys.exit(main())
