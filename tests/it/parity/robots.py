"""Compares how this engine reads robots with how MuJoCo and PyBullet read them.

    python tests/it/parity/robots.py [--dump target/debug/examples/robot_dump]

For every robot: total mass, the mass, centre of mass and inertia of each body, and the pose of each
body at random joint positions. It prints the largest deviations and fails beyond the tolerances.
The real robots are those of the installed `robosuite`, `gymnasium` and `pybullet_data` packages; ours
are in scenarios/library/robots. With `--reference` it prints the numbers that tests/it/parity.rs holds.
Made with mujoco 4.0 and pybullet 3.2.7.
"""
import argparse, importlib.util, json, os, random, subprocess, sys
import numpy as np

OURS = os.path.join(os.path.dirname(__file__), "../../../scenarios/library/robots")
CONFIGURATIONS = 4
# Single precision poses over a chain of a dozen joints.
POSE_M, POSE_RAD = 2e-5, 2e-5
# Single precision of what each side reports.
MASS, INERTIA = 1e-6, 1e-6


def package(name):
    spec = importlib.util.find_spec(name)
    return None if spec is None else os.path.dirname(os.path.dirname(spec.origin))


def dump(binary, folder, file, configurations=()):
    arguments = [json.dumps([float(x) for x in c]) for c in configurations]
    run = subprocess.run([binary, folder, file, *arguments], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    return json.loads(run.stdout)


def draw(model, seed):
    rng = random.Random(seed)
    out = []
    for joint in model["joints"]:
        low, high = joint["limits"]
        low = -1.0 if low is None else low
        high = 1.0 if high is None else high
        out.append(rng.uniform(low, high) if joint["mimic"] is None else 0.0)
    return out


def turn_between(a, b):
    """Angle between two quaternions, w last: from the vector part of their quotient, which keeps its
    digits near zero."""
    quotient = b[3] * a[:3] - a[3] * b[:3] - np.cross(a[:3], b[:3])
    return 2 * np.arcsin(np.clip(np.linalg.norm(quotient), 0, 1))


def rotation(q):
    x, y, z, w = q
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


def mujoco_robot(binary, folder, file):
    import mujoco
    path = os.path.join(folder, file)
    if file.endswith(".urdf"):
        text = open(path).read()
        options = '<mujoco><compiler fusestatic="false" strippath="false" balanceinertia="true"/></mujoco>'
        at = text.rindex("</robot>")
        reference = mujoco.MjModel.from_xml_string(text[:at] + options + text[at:])
    else:
        reference = mujoco.MjModel.from_xml_path(path)
    model = dump(binary, folder, file)
    configurations = [draw(model, seed) for seed in range(CONFIGURATIONS)]
    model = dump(binary, folder, file, configurations)
    worst = dict(mass=0.0, centre=0.0, inertia=0.0, metres=0.0, radians=0.0)
    name = lambda kind, i: mujoco.mj_id2name(reference, kind, i)
    bodies = {name(mujoco.mjtObj.mjOBJ_BODY, i) or f"body{i}": i for i in range(reference.nbody)}
    for link in model["links"]:
        i = bodies.get(link["name"])
        if i is None or i == 0:
            continue
        mass = reference.body_mass[i]
        worst["mass"] = max(worst["mass"], abs(link["mass"] - mass) / max(mass, 1e-6))
        if mass < 1e-9:
            continue
        worst["centre"] = max(worst["centre"], np.abs(np.array(link["centre"]) - reference.body_ipos[i]).max())
        q = reference.body_iquat[i]
        r = rotation([q[1], q[2], q[3], q[0]])
        tensor = r @ np.diag(reference.body_inertia[i]) @ r.T
        difference = np.abs(np.array(link["inertia"]) - tensor).max() / reference.body_inertia[i].max()
        worst["inertia"] = max(worst["inertia"], difference)
    data = mujoco.MjData(reference)
    for configuration, poses in zip(configurations, model["poses"]):
        data.qpos[:] = reference.qpos0
        for joint, position in zip(model["joints"], configuration):
            i = mujoco.mj_name2id(reference, mujoco.mjtObj.mjOBJ_JOINT, joint["name"])
            if i >= 0:
                data.qpos[reference.jnt_qposadr[i]] = position
        mimics = [k for k, joint in enumerate(model["joints"]) if joint["mimic"] is not None]
        for k in mimics:
            joint = model["joints"][k]
            i = mujoco.mj_name2id(reference, mujoco.mjtObj.mjOBJ_JOINT, joint["name"])
            if i >= 0:
                data.qpos[reference.jnt_qposadr[i]] = follower(model, configuration, k, reference, mujoco)
        mujoco.mj_kinematics(reference, data)
        for link, pose in zip(model["links"], poses):
            i = bodies.get(link["name"])
            if i is None:
                continue
            worst["metres"] = max(worst["metres"], np.abs(np.array(pose[:3]) - data.xpos[i]).max())
            q = data.xquat[i]
            worst["radians"] = max(worst["radians"], turn_between(np.array(pose[3:]), np.array([q[1], q[2], q[3], q[0]])))
    total = sum(link["mass"] for link in model["links"])
    return total, worst


def follower(model, configuration, k, reference, mujoco):
    """Position of a mimic joint by MuJoCo's own equality coefficients."""
    joint = mujoco.mj_name2id(reference, mujoco.mjtObj.mjOBJ_JOINT, model["joints"][k]["name"])
    for e in range(reference.neq):
        if reference.eq_type[e] == mujoco.mjtEq.mjEQ_JOINT and reference.eq_obj1id[e] == joint:
            leader = mujoco.mj_id2name(reference, mujoco.mjtObj.mjOBJ_JOINT, int(reference.eq_obj2id[e]))
            index = [j["name"] for j in model["joints"]].index(leader)
            a = reference.eq_data[e][:2]
            x = a[0] + a[1] * (configuration[index] if model["joints"][index]["mimic"] is None
                               else follower(model, configuration, index, reference, mujoco))
            low, high = model["joints"][k]["limits"]
            return min(max(x, -np.inf if low is None else low), np.inf if high is None else high)
    # A URDF mimic: MuJoCo does not read it; take what we say.
    return 0.0


def bullet_robot(binary, folder, file):
    import pybullet as p
    client = p.connect(p.DIRECT)
    flags = p.URDF_USE_INERTIA_FROM_FILE
    body = p.loadURDF(os.path.join(folder, file), useFixedBase=True, flags=flags)
    model = dump(binary, folder, file)
    configurations = [draw(model, seed) for seed in range(CONFIGURATIONS)]
    model = dump(binary, folder, file, configurations)
    mimics = any(joint["mimic"] is not None for joint in model["joints"])
    links = {p.getBodyInfo(body)[0].decode(): -1}
    joints = {}
    for i in range(p.getNumJoints(body)):
        info = p.getJointInfo(body, i)
        links[info[12].decode()] = i
        joints[info[1].decode()] = i
    worst = dict(mass=0.0, centre=0.0, inertia=0.0, metres=0.0, radians=0.0)
    for link in model["links"]:
        i = links.get(link["name"])
        if i is None:
            continue
        info = p.getDynamicsInfo(body, i)
        mass = info[0]
        # Bullet gives 1 kg to frames without mass, 0 to a fixed base, and no inertia where it dislikes
        # the file's.
        if link["mass"] == 0 or mass == 0 or max(info[2]) == 0:
            continue
        worst["mass"] = max(worst["mass"], abs(link["mass"] - mass) / mass)
        worst["centre"] = max(worst["centre"], np.abs(np.array(link["centre"]) - np.array(info[3])).max())
        # Bullet keeps the principal moments with their axes in the frame of the centre of mass.
        r = rotation(info[4])
        tensor = r @ np.diag(info[2]) @ r.T
        difference = np.abs(np.array(link["inertia"]) - tensor).max() / max(info[2])
        worst["inertia"] = max(worst["inertia"], difference)
    for configuration, poses in zip(configurations, model["poses"]):
        for joint, position in zip(model["joints"], configuration):
            if joint["name"] in joints and joint["mimic"] is None:
                p.resetJointState(body, joints[joint["name"]], position)
        if mimics:
            for joint in model["joints"]:
                if joint["mimic"] is not None:
                    leader = model["joints"][joint["mimic"]]["name"]
                    p.resetJointState(body, joints[joint["name"]],
                                      configuration[[j["name"] for j in model["joints"]].index(leader)])
        for link, pose in zip(model["links"], poses):
            i = links.get(link["name"])
            # Husky's IMU stands at `$(optenv …)`, which Bullet reads as 0.
            if i is None or i < 0 or link["name"] == "imu_link":
                continue
            state = p.getLinkState(body, i, computeForwardKinematics=True)
            world, turn = np.array(state[4]), np.array(state[5])
            worst["metres"] = max(worst["metres"], np.abs(np.array(pose[:3]) - world - base_shift(p, body)).max())
            worst["radians"] = max(worst["radians"], turn_between(np.array(pose[3:]), turn))
    p.disconnect(client)
    return sum(link["mass"] for link in model["links"]), worst


def base_shift(p, body):
    """Bullet places a robot by the centre of mass of its base."""
    local, turn = p.getDynamicsInfo(body, -1)[3:5]
    position, orientation = p.getBasePositionAndOrientation(body)
    inverse = p.invertTransform(local, turn)
    origin, _ = p.multiplyTransforms(position, orientation, *inverse)
    return -np.array(origin)


def reference(binary):
    """Numbers for tests/it/parity.rs."""
    import mujoco
    for file in sorted(os.listdir(OURS)):
        path = os.path.join(OURS, file)
        model = dump(binary, OURS, file)
        positions = [round(0.3 * (-1) ** k * (1 + k) / 8 - (0.5 if "knee" in j["name"] else 0), 4)
                     for k, j in enumerate(model["joints"])]
        low = [j["limits"][0] if j["limits"][0] is not None else -9 for j in model["joints"]]
        high = [j["limits"][1] if j["limits"][1] is not None else 9 for j in model["joints"]]
        positions = [min(max(x, l), h) for x, l, h in zip(positions, low, high)]
        if file.endswith(".urdf"):
            text = open(path).read()
            at = text.rindex("</robot>")
            m = mujoco.MjModel.from_xml_string(
                text[:at] + '<mujoco><compiler fusestatic="false"/></mujoco>' + text[at:])
        else:
            m = mujoco.MjModel.from_xml_path(path)
        d = mujoco.MjData(m)
        for joint, x in zip(model["joints"], positions):
            leader = joint["mimic"]
            x = positions[leader] if leader is not None else x
            d.qpos[m.jnt_qposadr[mujoco.mj_name2id(m, mujoco.mjtObj.mjOBJ_JOINT, joint["name"])]] = x
        mujoco.mj_forward(m, d)
        last = model["links"][-1]["name"]
        i = mujoco.mj_name2id(m, mujoco.mjtObj.mjOBJ_BODY, last)
        print(f"// {file}: qpos {[round(float(x), 6) for x in positions]}")
        print(f"//   mass {m.body_mass.sum():.9} centre {[round(float(x), 8) for x in d.subtree_com[0]]}")
        print(f"//   {last} at {[round(float(x), 8) for x in d.xpos[i]]} quat wxyz {[round(float(x), 8) for x in d.xquat[i]]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dump", default="target/debug/examples/robot_dump")
    parser.add_argument("--reference", action="store_true")
    arguments = parser.parse_args()
    if arguments.reference:
        return reference(arguments.dump)
    robots = [(mujoco_robot, OURS, file) for file in sorted(os.listdir(OURS))]
    site = package("robosuite")
    if site:
        base = "robosuite/models/assets/robots/"
        robots += [(mujoco_robot, site, f"{base}{n}/robot.xml") for n in sorted(os.listdir(os.path.join(site, base)))]
        base = "robosuite/models/assets/grippers/"
        robots += [(mujoco_robot, site, base + n) for n in sorted(os.listdir(os.path.join(site, base))) if n.endswith(".xml")]
    site = package("gymnasium")
    if site:
        base = "gymnasium/envs/mujoco/assets/"
        robots += [(mujoco_robot, site, base + n) for n in sorted(os.listdir(os.path.join(site, base))) if n.endswith(".xml")]
    site = package("pybullet_data")
    if site and importlib.util.find_spec("pybullet"):
        robots += [(bullet_robot, OURS, n) for n in sorted(os.listdir(OURS)) if n.endswith(".urdf")]
        for n in ["franka_panda/panda", "kuka_iiwa/model", "r2d2", "a1/a1", "laikago/laikago", "mini_cheetah/mini_cheetah",
                  "husky/husky", "xarm/xarm6_with_gripper", "racecar/racecar", "aliengo/aliengo",
                  "quadruped/minitaur", "cartpole", "pr2_gripper"]:
            robots.append((bullet_robot, site, f"pybullet_data/{n}.urdf"))
    failed = 0
    for compare, folder, file in robots:
        try:
            total, worst = compare(arguments.dump, folder, file)
        except Exception as error:  # A robot that one of the two cannot read is a result too.
            print(f"\n-    {file}: {str(error)[:300]}")
            continue
        good = worst["mass"] < MASS and worst["inertia"] < INERTIA and worst["metres"] < POSE_M and worst["radians"] < POSE_RAD
        failed += not good
        print(f"\n{'ok  ' if good else 'FAIL'} {compare.__name__[:6]} {file}: {total:.4f} kg, " +
              ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    return failed


if __name__ == "__main__":
    sys.exit(main())
