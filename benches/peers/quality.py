"""What a video model of the `cpu` preset learns in ten minutes, one for each scenario, beside copying the last known frame.

For each scenario: 200 episodes at 64 × 64 of its first camera (seed 1, the scenario's own rate, H.264 at crf 16), ten minutes of training on
all cores with seed 1, and an evaluation on the episodes held out: windows of 8 true and 32 dreamed frames in 4 steps. A scenario takes
about a quarter of an hour; what is in the folder already is not made again, so that an interrupted run goes on.

    python benches/peers/quality.py [--scenarios bouncing_balls,tabletop_push] [--minutes 10] [--folder out/quality] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import common

SCENARIOS = "bouncing_balls,billiards,block_tower,tabletop_push"
EPISODES = 200
# Next frame, dB over all pixels; dB above copying over moving ones; 32 conditioned frames, dB; centroids there, pixels;
# centroids after 8 free frames, of those of copying.
NEXT, MOVING, TOLD, TOLD_PX, FREE = 30.0, 6.0, 26.0, 1.5, 0.5
FREE_AT = 8


def learned(scenario, folder, minutes):
    """The evaluation of a model of a scenario."""
    data, model, result = (folder / f"{scenario}-{what}" for what in ("data", "model", "eval.json"))
    scene = subprocess.run([common.binary(), "sample", scenario, "--seed", "1"], capture_output=True, check=True)
    cameras = list(json.loads(scene.stdout)["cameras"])
    if not (data / "worldloom.json").exists():
        small = [part for name in cameras for part in ("--set", f"cameras.{name}.resolution=[64,64]")]
        common.worldloom("generate", scenario, "--episodes", EPISODES, "--seed", 1, "--out", data, *small)
    one = ["--set", f"cameras={json.dumps(cameras[:1])}"]
    if not result.exists():
        going = ["--resume"] if (model / "config.json").exists() else ["--minutes", minutes, *one]
        common.worldloom("train", "video", "--data", data, "--out", model, "--seed", 1, *going)
        found = common.worldloom("eval", model, "--data", data)
        result.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(result.read_text(encoding="utf-8"))


def rows_of(found):
    """Each figure with the wanted one, and whether that was met; none where the scenario has no such thing."""
    def row(value, wanted, above):
        met = None if value is None or wanted is None else (value >= wanted if above else value <= wanted)
        return {"measured": value, "wanted": wanted, "met": met}

    step, free, told = found["next"], found["free"], found["condition"] or {}
    curve = lambda name: (free[name][FREE_AT - 1] if len(free[name]) >= FREE_AT else None)
    stays = curve("copy_centroid_curve")
    above = None
    if step["psnr_moving"] is not None and step["copy_psnr_moving"] is not None:
        above = step["psnr_moving"] - step["copy_psnr_moving"]
    return {
        "next frame, dB": row(step["psnr"], NEXT, True),
        "copying, dB": row(step["copy_psnr"], None, True),
        "next frame over moving pixels, dB": row(step["psnr_moving"], None, True),
        "above copying there, dB": row(above, MOVING, True),
        "32 frames told the G-buffers, dB": row(told.get("psnr"), TOLD, True),
        "centroids there, px": row(told.get("centroid_error"), TOLD_PX, False),
        "centroids in true frames, px": row(found["true_centroid_error"], None, False),
        f"centroids after {FREE_AT} free frames, px": row(curve("centroid_curve"), stays and FREE * stays, False),
        f"staying put for {FREE_AT} frames, px": row(stays, None, False),
        "centroids over 32 free frames, px": row(free["centroid_error"], None, False),
        "positions in conditioned dreams, m": row(told.get("position_error_m"), None, False),
        "positions in true frames, m": row(found["true_position_error_m"], None, False),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", default=SCENARIOS, help=f"names, with commas (default {SCENARIOS})")
    parser.add_argument("--minutes", type=float, default=10, help="of training for each (default 10)")
    parser.add_argument("--folder", type=Path, default=common.ROOT / "out" / "quality", help="data, models and results")
    parser.add_argument("--json", metavar="FILE", help="also write the result here")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rows, missed = {}, 0
    for scenario in args.scenarios.split(","):
        found = learned(scenario, args.folder, args.minutes)
        print(f"{scenario}: {found['windows']} windows at {found['fps']:g} Hz, {found['size'][0]} × {found['size'][1]}")
        for name, row in rows_of(found).items():
            if row["measured"] is None:
                continue
            verdict = {None: "", True: "met", False: "MISSED"}[row["met"]]
            wanted = "" if row["wanted"] is None else f"{row['wanted']:8.2f}"
            print(f"  {name:44} {row['measured']:8.2f} {wanted:8} {verdict}", flush=True)
            missed += row["met"] is False
            rows[f"{scenario}: {name}"] = row["measured"]
    settings = {"minutes": f"{args.minutes:g}", "episodes": str(EPISODES), "pictures": "64 × 64, H.264, crf 16"}
    common.record(args.json, "What ten minutes of training learn", settings, [], rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
