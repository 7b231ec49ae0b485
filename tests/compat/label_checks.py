"""The labels beside the pictures, read with pyarrow, Pillow and OpenCV alone, against geometry worked out here.

Nothing of Worldloom is used: the documented encodings (datasets/FORMAT.md) are decoded by hand, and
depths, normals and flow are compared with what rays, planes, spheres and rigid motion say.
"""

import io
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as parquet
from PIL import Image

SKY, FAR = 0, 65535
# Half of a millimetre's code, and single precision at a few metres.
DEPTH_M = 0.0005 + 2e-5
# Half a step of 1/127 in each component, and single precision.
NORMAL = 0.5 / 127 + 1e-3
# Half a step of 1/64 pixel, and the flow of half a millimetre of depth.
FLOW_PX = 0.5 / 64 + 0.04
# A solver lets a joint past its stop by a little while it pushes it back.
LIMIT_RAD = 0.03
SEEN, HIDDEN = 1, 2


def table(root, folder):
    """All rows of a table, in the order of its files."""
    paths = sorted((Path(root) / folder).rglob("*.parquet"))
    assert paths, f"no files in {folder}"
    return [row for path in paths for row in parquet.read_table(path).to_pylist()]


def picture(png):
    """An RGB picture."""
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def grey(png):
    """A 16-bit grey PNG."""
    picture = Image.open(io.BytesIO(png))
    assert picture.mode.startswith("I;16") or picture.mode == "I", f"expected 16-bit grey, found {picture.mode}"
    return np.array(picture).astype(np.uint16)


def normals(png):
    """Unit vectors in the camera's frame, zero where the sky is."""
    codes = np.array(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.float64)
    vectors = (codes - 128) / 127
    vectors[(codes == 0).all(-1)] = 0
    return vectors


def flow(png):
    """Displacement in pixels [H, W, 2] and status [H, W]. OpenCV keeps 16 bits; its order is B, G, R."""
    codes = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert codes.dtype == np.uint16 and codes.shape[-1] == 3, f"expected 16-bit RGB, found {codes.dtype} {codes.shape}"
    u, v, status = codes[..., 2], codes[..., 1], codes[..., 0]
    return np.stack([(u.astype(np.float64) - 32768) / 64, (v.astype(np.float64) - 32768) / 64], -1), status


def rotation(q):
    """Matrix of a quaternion x y z w."""
    x, y, z, w = np.asarray(q, np.float64) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class Lens:
    """The camera of one frame."""

    def __init__(self, row, shape):
        self.at = np.array(row["world_from_camera"][:3], np.float64)
        self.turn = rotation(row["world_from_camera"][3:])
        self.fx, self.fy, self.cx, self.cy = row["intrinsics"]
        v, u = np.mgrid[0 : shape[0], 0 : shape[1]]
        self.u, self.v = u + 0.5, v + 0.5
        self.rays = np.stack([(self.u - self.cx) / self.fx, (self.v - self.cy) / self.fy, np.ones(shape)], -1)

    def world(self, depth_m):
        """World points of all pixels."""
        return self.at + (self.rays * depth_m[..., None]) @ self.turn.T

    def project(self, points):
        """Pixel coordinates of world points."""
        local = (points - self.at) @ self.turn
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([self.fx * local[..., 0] / local[..., 2] + self.cx, self.fy * local[..., 1] / local[..., 2] + self.cy], -1)

    def plane_depth(self):
        """Depth of the plane z = 0."""
        slope = self.rays @ self.turn.T
        with np.errstate(divide="ignore"):
            return -self.at[2] / slope[..., 2]

    def sphere_depth(self, centre, radius):
        """Depth of the near side of a sphere; NaN where the ray misses it."""
        direction = self.rays @ self.turn.T
        offset = self.at - centre
        a, b, c = (direction**2).sum(-1), direction @ offset, offset @ offset - radius**2
        with np.errstate(invalid="ignore"):
            return (-b - np.sqrt(b * b - a * c)) / a


class Labels:
    """All label tables of a dataset, by episode and frame."""

    def __init__(self, root):
        self.root = Path(root)
        self.cameras = {path.name: table(root, f"annotations/cameras/{path.name}") for path in sorted((self.root / "annotations/cameras").iterdir())}
        self.poses = {}
        for row in table(root, "annotations/poses"):
            self.poses.setdefault((row["episode_index"], row["frame_index"]), {})[row["instance"]] = row
        self.boxes = {}
        for row in table(root, "annotations/boxes"):
            self.boxes.setdefault((row["camera"], row["episode_index"], row["frame_index"]), {})[row["instance"]] = row
        self.names = {row["episode_index"]: dict(enumerate(row["instance_names"], 1)) for row in table(root, "worldloom") if row["episode_index"] is not None}

    def joint_positions(self):
        """{joint of the robot: its positions over all frames}."""
        names = {row["episode_index"]: row["joint_names"] for row in table(self.root, "worldloom") if row["episode_index"] is not None}
        found = {}
        for row in table(self.root, "annotations/joints"):
            name = names[row["episode_index"]][row["joint"]]
            if name.startswith("robot."):
                found.setdefault(name.removeprefix("robot."), []).append(row["position"])
        return {name: np.array(values) for name, values in found.items()}

    def floor(self, episode):
        """Instance id of the floor: the scenario's, or what the robot's file bolts to the world."""
        own = "robot.world" in self.names[episode].values()
        return self.instance(episode, "robot.world" if own else "floor")

    def instance(self, episode, name):
        """Instance id of a body."""
        found = [number for number, other in self.names[episode].items() if other == name]
        assert len(found) == 1, f"expected one body named {name}, found {found} in {self.names[episode]}"
        return found[0]


def every_frame_has_its_labels(labels, rows):
    """One row per camera and frame, in the order of the data, and all pictures of one size."""
    wanted = [(row["episode_index"], k) for row in rows for k in range(row["length"])]
    for name, found in labels.cameras.items():
        listed = [(row["episode_index"], row["frame_index"]) for row in found]
        assert listed == wanted, f"{name}: expected {len(wanted)} label rows in order, found {len(listed)}"
        shapes = {grey(row["depth"]).shape for row in found} | {grey(row["instances"]).shape for row in found} | {normals(row["normals"]).shape[:2] for row in found}
        assert len(shapes) == 1, f"{name}: pictures of sizes {shapes}"
    assert sorted(labels.poses) == wanted, f"poses of {len(labels.poses)} frames, expected {len(wanted)}"


def depths_and_normals_are_those_of_geometry(labels, radius):
    """The floor is the plane z = 0 and the ball a sphere, at every pixel that shows them."""
    seen = {"floor": 0, "ball": 0}
    for name, rows in labels.cameras.items():
        for row in rows:
            where = f"{name}, episode {row['episode_index']}, frame {row['frame_index']}"
            ids, codes, vectors = grey(row["instances"]), grey(row["depth"]), normals(row["normals"])
            lens, depth = Lens(row, codes.shape), codes / 1000.0
            assert ((ids == 0) == (codes == SKY)).all(), f"{where}: sky in depth and in instances differ"
            poses = labels.poses[row["episode_index"], row["frame_index"]]
            floor, ball = labels.floor(row["episode_index"]), labels.instance(row["episode_index"], "ball")
            centre = np.array(poses[ball]["position"], np.float64)
            up = np.array([0, 0, 1]) @ lens.turn
            expected = {"floor": lens.plane_depth(), "ball": lens.sphere_depth(centre, radius)}
            for body, number in (("floor", floor), ("ball", ball)):
                mask = (ids == number) & (codes != FAR)
                if not mask.any():
                    continue
                error = np.abs(depth - expected[body])[mask]
                scale = DEPTH_M + 1e-5 * depth[mask]
                # At the rim of a sphere single precision decides on which side of it a ray passes.
                rim = np.isnan(error) | (error > scale)
                assert rim.mean() <= (0.0 if body == "floor" else 0.05), f"{where}: depth of the {body} is off by {np.nanmax(error):.5f} m"
                wanted = np.broadcast_to(up, vectors.shape) if body == "floor" else (lens.world(depth) - centre) / radius @ lens.turn
                # Half a millimetre of depth turns the normal of a small sphere.
                tolerance = NORMAL if body == "floor" else NORMAL + 0.001 / radius
                off = np.abs(vectors - wanted)[mask].max(-1)
                assert (off > tolerance).mean() <= (0.0 if body == "floor" else 0.05), f"{where}: normals of the {body} are off by {off.max():.4f}"
                seen[body] += int(mask.sum())
    assert seen["floor"] > 1000 and seen["ball"] > 50, f"expected to see floor and ball, saw {seen} pixels"
    return seen


def flow_is_rigid_motion(labels):
    """Forward and backward flow of every visible pixel is its body's motion between the two poses. Returns pixels compared."""
    compared = moving = 0
    for name, rows in labels.cameras.items():
        by_frame = {(row["episode_index"], row["frame_index"]): row for row in rows}
        for (episode, frame), row in by_frame.items():
            ids, depth = grey(row["instances"]), grey(row["depth"]) / 1000.0
            lens = Lens(row, ids.shape)
            points = lens.world(depth)
            for column, step in (("flow_forward", 1), ("flow_backward", -1)):
                other = by_frame.get((episode, frame + step))
                if other is None:
                    continue
                assert row[column] is not None, f"{name}, episode {episode}, frame {frame}: no {column}"
                displacement, status = flow(row[column])
                assert ((status == 0) >= (ids == 0)).all(), f"{name}, frame {frame}: {column} on the sky is marked as seen"
                view = Lens(other, ids.shape)
                now, then = labels.poses[episode, frame], labels.poses[episode, frame + step]
                for number in np.unique(ids[ids > 0]):
                    mask = (ids == number) & (status == SEEN) & (grey(row["depth"]) != FAR)
                    if not mask.any() or number not in now or number not in then or not then[number]["present"]:
                        continue
                    local = (points[mask] - now[number]["position"]) @ rotation(now[number]["rotation"])
                    moved = local @ rotation(then[number]["rotation"]).T + then[number]["position"]
                    wanted = view.project(moved) - np.stack([lens.u, lens.v], -1)[mask]
                    off = np.abs(wanted - displacement[mask]).max(-1)
                    assert (off <= FLOW_PX + 0.002 * np.abs(wanted).max(-1)).all(), (
                        f"{name}, episode {episode}, frame {frame}, {column} of {labels.names[episode].get(int(number))}: off by {off.max():.3f} px"
                    )
                    compared += int(mask.sum())
                    moving += int((np.abs(wanted).max(-1) > 0.5).sum())
    assert moving > 100, f"expected moving pixels to compare flow on, found {moving} of {compared}"
    return compared


def boxes_hold_the_visible_pixels(labels):
    """Boxes are the bounds of the pixels that show an instance, for all of them and no other."""
    for name, rows in labels.cameras.items():
        for row in rows:
            ids = grey(row["instances"])
            found = labels.boxes.get((name, row["episode_index"], row["frame_index"]), {})
            wanted = sorted(set(np.unique(ids).tolist()) - {0})
            assert sorted(found) == wanted, f"{name}, frame {row['frame_index']}: boxes of {sorted(found)}, visible {wanted}"
            for number, box in found.items():
                v, u = np.nonzero(ids == number)
                bounds = (u.min(), v.min(), u.max() + 1, v.max() + 1, len(u))
                listed = tuple(box[key] for key in ("x0", "y0", "x1", "y1", "pixels"))
                assert bounds == listed, f"{name}, frame {row['frame_index']}, instance {number}: box {listed}, pixels say {bounds}"


def contacts_are_finite_and_push(labels):
    """Contact normals are unit vectors, normal forces push, friction lies in the tangent plane. Returns the number of contacts."""
    rows = table(labels.root, "annotations/contacts")
    for row in rows:
        where = f"episode {row['episode_index']}, frame {row['frame_index']}, {row['instance_a']} and {row['instance_b']}"
        normal, friction = np.array(row["normal"]), np.array(row["friction_force_n"])
        assert np.isfinite([*row["point"], *normal, *friction, row["normal_force_n"]]).all(), f"{where}: not finite"
        assert abs(np.linalg.norm(normal) - 1) < 1e-4, f"{where}: normal of length {np.linalg.norm(normal)}"
        assert row["normal_force_n"] >= 0, f"{where}: a contact pulls with {row['normal_force_n']} N"
        assert abs(friction @ normal) <= 1e-3 * (1 + np.linalg.norm(friction)), f"{where}: friction along the normal"
        assert row["instance_a"] < row["instance_b"], f"{where}: pair out of order"
    assert rows, "expected contacts: the ball at least lies on the floor"
    return len(rows)


def a_resting_ball_is_held_by_its_weight(labels, radius, density=1000.0, gravity=9.81):
    """In the last frame the contacts of the ball with the floor carry its weight, if it rests there alone."""
    mass = density * 4 / 3 * np.pi * radius**3
    rows = table(labels.root, "annotations/contacts")
    tested = 0
    for episode in labels.names:
        floor, ball = labels.floor(episode), labels.instance(episode, "ball")
        last = max(frame for number, frame in labels.poses if number == episode)
        pose = labels.poses[episode, last][ball]
        mine = [row for row in rows if row["episode_index"] == episode and row["frame_index"] == last and ball in (row["instance_a"], row["instance_b"])]
        if abs(pose["velocity"][2]) > 0.005 or {row["instance_a"] + row["instance_b"] - ball for row in mine} != {floor}:
            continue
        carried = sum(row["normal_force_n"] * abs(row["normal"][2]) for row in mine)
        assert abs(carried - mass * gravity) < 0.05 * mass * gravity, f"episode {episode}: the floor carries {carried:.2f} N of {mass * gravity:.2f} N"
        tested += 1
    assert tested, "expected the ball to rest on the floor at the end of an episode"
    return f"{tested} resting"


def robots_stay_in_the_world(labels, lowest_m, highest_m):
    """No link of the robot is ever below the floor or far above it. Returns the extremes."""
    heights = [
        row["position"][2]
        for (episode, _), rows in labels.poses.items()
        for number, row in rows.items()
        if labels.names[episode][number].startswith("robot.") and labels.names[episode][number] != "robot.world"
    ]
    assert heights, "expected poses of the robot's links"
    low, high = min(heights), max(heights)
    assert lowest_m <= low and high <= highest_m, f"links between {low:.3f} m and {high:.3f} m, expected {lowest_m} m to {highest_m} m"
    return f"{low:.2f} m to {high:.2f} m"


def joints_keep_their_limits(positions, limits):
    """`positions`: {joint: array over all frames}. Says how many, and how far the worst went past."""
    worst, compared = 0.0, 0
    for name, (lower, upper) in limits.items():
        if name not in positions:
            continue
        values = positions[name]
        past = max(lower - values.min(), values.max() - upper)
        assert past <= LIMIT_RAD, f"{name}: went to [{values.min():.3f}, {values.max():.3f}], limits [{lower:.3f}, {upper:.3f}]"
        worst, compared = max(worst, past), compared + 1
    assert compared >= 0.5 * len(limits) and compared, f"expected the limited joints {sorted(limits)} among {sorted(positions)}"
    return f"{compared} joints, at most {max(worst, 0):.4f} past a stop"
