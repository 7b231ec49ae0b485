"""What the real lerobot must make of a dataset, frame by frame, against what an independent reader sees.

The independent reader is plain pyarrow for the columns and PyAV for the videos. Every check raises
`AssertionError` with what was expected and what was found.
"""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as parquet
import torch
from lerobot.configs.types import FeatureType
from lerobot.utils.feature_utils import dataset_to_policy_features
from lerobot.datasets.lerobot_dataset import LeRobotDataset

# lerobot's own default: how far a decoded frame may lie from the time asked for.
TOLERANCE_SECS = 1e-4
# Two decoders of the same stream may convert YUV to RGB with other rounding: at most 2 codes of 255, half a code on average.
MOST_CODES, MEAN_CODES = 4, 0.75
QUANTILES = ("q01", "q10", "q50", "q90", "q99")
MANDATORY = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def load(root, **options):
    """The dataset as lerobot opens it."""
    return LeRobotDataset(f"compat/{Path(root).name}", root=root, **options)


def columns(root):
    """Every column of the data files in order, as numpy arrays (None for images, which are structs)."""
    tables = [parquet.read_table(path) for path in sorted(Path(root).glob("data/*/*.parquet"))]
    found = {}
    for name in tables[0].column_names:
        values = [value for table in tables for value in table.column(name).to_pylist()]
        found[name] = values if values and isinstance(values[0], dict) else np.array(values)
    return found


def episodes(root):
    """Rows of the episode tables, in order."""
    return [row for path in sorted(Path(root).glob("meta/episodes/*/*.parquet")) for row in parquet.read_table(path).to_pylist()]


def info(root):
    """meta/info.json."""
    return json.loads((Path(root) / "meta/info.json").read_text(encoding="utf-8"))


def cameras(root):
    """Names of the picture features."""
    return [name for name, feature in info(root)["features"].items() if feature["dtype"] in ("image", "video")]


class Videos:
    """Decodes whole files with PyAV and keeps them: [frames, H, W, 3] and the exact times."""

    def __init__(self, root):
        self.root, self.files = Path(root), {}

    def file(self, camera, chunk, index):
        """Pictures and times (exact fractions of a second) of one file."""
        key = camera, chunk, index
        if key not in self.files:
            pictures, times = [], []
            path = self.root / f"videos/{camera}/chunk-{chunk:03d}/file-{index:03d}.mp4"
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                for frame in container.decode(stream):
                    pictures.append(frame.to_ndarray(format="rgb24"))
                    times.append(Fraction(frame.pts) * stream.time_base)
                average = stream.average_rate
            self.files[key] = np.stack(pictures), times, average
        return self.files[key]

    def episode(self, row, camera, fps):
        """Pictures of one episode, found by its exact first time."""
        prefix = f"videos/{camera}"
        pictures, times, average = self.file(camera, row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"])
        assert average == fps, f"{camera}: expected an average rate of {fps}, found {average}"
        first = round(row[f"{prefix}/from_timestamp"] * fps)
        for k in range(row["length"]):
            error = abs(float(times[first + k] - Fraction(first + k, fps)))
            assert error < TOLERANCE_SECS, f"{camera}: frame {first + k} is {error} s off its time"
        return pictures[first : first + row["length"]]


def frames_are_what_was_recorded(root, backend):
    """Every frame through lerobot against pyarrow and PyAV. Returns the number of frames."""
    dataset = load(root, video_backend=backend)
    plain, rows, meta, videos = columns(root), episodes(root), info(root), Videos(root)
    fps, names = meta["fps"], cameras(root)
    assert len(dataset) == meta["total_frames"] == len(plain["index"]), (
        f"expected {meta['total_frames']} frames, lerobot has {len(dataset)}, the columns {len(plain['index'])}"
    )
    assert len(rows) == meta["total_episodes"] == dataset.num_episodes, f"episodes: {len(rows)}, {meta['total_episodes']}, {dataset.num_episodes}"
    seen = 0
    for row in rows:
        pictures = {}
        for name in names:
            if meta["features"][name]["dtype"] == "video":
                pictures[name] = videos.episode(row, name, fps)
        for k in range(row["length"]):
            item = dataset[row["dataset_from_index"] + k]
            at = row["dataset_from_index"] + k
            assert int(item["index"]) == at and int(item["frame_index"]) == k, f"frame {at} came as {int(item['index'])}, {int(item['frame_index'])}"
            assert abs(float(item["timestamp"]) - k / fps) < TOLERANCE_SECS, f"frame {at}: timestamp {float(item['timestamp'])}, expected {k / fps}"
            assert isinstance(item["task"], str) and item["task"], f"frame {at}: task {item['task']!r}"
            for name, values in plain.items():
                if name in names:
                    continue
                got, wanted = np.asarray(item[name]), values[at]
                assert np.array_equal(got, np.asarray(wanted, got.dtype).reshape(got.shape)), f"frame {at}, {name}: {got} is not {wanted}"
            for name in names:
                same_picture(item[name], pictures.get(name), k, f"{name}, frame {at}")
            seen += 1
    return seen


def same_picture(tensor, decoded, k, where):
    """lerobot's float [C, H, W] in [0, 1] against our 8-bit decode."""
    assert tensor.ndim == 3 and tensor.shape[0] == 3 and tensor.dtype == torch.float32, f"{where}: {tuple(tensor.shape)} {tensor.dtype}"
    if decoded is None:
        return  # PNG: compared with the raw pictures elsewhere
    difference = np.abs(tensor.permute(1, 2, 0).numpy() * 255 - decoded[k])
    assert difference.max() <= MOST_CODES and difference.mean() <= MEAN_CODES, f"{where}: off by {difference.max():.2f} codes, {difference.mean():.2f} on average"


def statistics_are_those_of_the_data(root):
    """stats.json holds every numeric and picture feature, with the values of the columns."""
    stats = json.loads((Path(root) / "meta/stats.json").read_text(encoding="utf-8"))
    plain, meta = columns(root), info(root)
    for name, feature in meta["features"].items():
        if feature["dtype"] == "string":
            continue
        assert name in stats, f"no statistics of {name}"
        entry = stats[name]
        wanted = {"min", "max", "mean", "std", "count", *QUANTILES}
        assert wanted <= set(entry), f"statistics of {name} lack {wanted - set(entry)}"
        if feature["dtype"] in ("image", "video"):
            mean = np.array(entry["mean"])
            assert mean.shape == (3, 1, 1) and 0 <= mean.min() and mean.max() <= 1, f"{name}: mean {mean.tolist()}"
            continue
        values = np.asarray(plain[name], np.float64).reshape(len(plain["index"]), -1)
        for key, found in (("min", values.min(0)), ("max", values.max(0)), ("mean", values.mean(0)), ("std", values.std(0))):
            listed = np.array(entry[key], np.float64)
            scale = np.maximum(1.0, np.abs(found))
            assert listed.shape == found.shape and np.all(np.abs(listed - found) <= 1e-4 * scale), f"{name}.{key}: {listed} is not {found}"
        assert entry["count"] == [len(values)], f"{name}.count: {entry['count']}, expected [{len(values)}]"


def batches_with_history_come(root):
    """A DataLoader with delta_timestamps gives windows whose rows are the neighbouring frames."""
    meta = info(root)
    step = 1 / meta["fps"]
    pictures = cameras(root)[:1]
    wanted = {"observation.state": [-step, 0.0], "action": [0.0, step, 2 * step], **{name: [-step, 0.0] for name in pictures}}
    wanted = {name: times for name, times in wanted.items() if name in meta["features"]}
    dataset = load(root, delta_timestamps=wanted)
    state = columns(root)["observation.state"].reshape(len(dataset), -1)
    loader = torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=False)
    seen = 0
    for batch in loader:
        for row, index in enumerate(batch["index"].tolist()):
            now = batch["observation.state"][row, 1].numpy().reshape(-1)
            assert np.array_equal(now, state[index]), f"window of frame {index}: {now} is not {state[index]}"
            first = int(batch["frame_index"][row]) == 0
            before = batch["observation.state"][row, 0].numpy().reshape(-1)
            assert np.array_equal(before, state[index if first else index - 1]), f"window of frame {index} has another history"
            assert bool(batch["observation.state_is_pad"][row, 0]) == first, f"frame {index}: padding"
            seen += 1
        for name in pictures:
            assert batch[name].ndim == 5 and batch[name].shape[1:3] == (2, 3), f"{name}: {tuple(batch[name].shape)}"
    assert seen == len(dataset), f"the loader gave {seen} of {len(dataset)} frames"


def policies_see_pictures_state_and_action_alone(root):
    """No label or privileged value becomes an input of a policy."""
    features = dataset_to_policy_features(info(root)["features"])
    for name, feature in features.items():
        visual = feature.type is FeatureType.VISUAL
        allowed = name.startswith("observation.images.") if visual else name in ("observation.state", "observation.environment_state", "action")
        assert allowed, f"{name} would be a {feature.type} input of a policy"
    assert all(name in features for name in cameras(root)), f"expected every camera among {sorted(features)}"


def mandatory_features_have_their_types(root):
    """The five columns that lerobot indexes by."""
    features = info(root)["features"]
    for name in MANDATORY:
        dtype = "float32" if name == "timestamp" else "int64"
        assert features[name]["dtype"] == dtype and features[name]["shape"] == [1], f"{name}: {features[name]}"
