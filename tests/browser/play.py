"""`worldloom play` as a person meets it: a headless Chromium opens the page, presses keys, and sees the action arrive.

    WORLDLOOM=target/debug/worldloom python3 tests/browser/play.py [--out DIR]

Plays a scenario of physics and a dream of a model that was trained for a few steps. Needs Chromium and Python 3 and no
packages: it speaks the DevTools protocol over a pipe. With --out it leaves pictures of the page, light and dark. Exit
code 77 where there is no Chromium: nothing was tested.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
SKIPPED = 77
PATIENCE_SECS = 60
# What a person holds down, and what it moves in cart_pole and in a dream of bouncing balls.
RIGHT = {"key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39}
SPACE = {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32}
PERIOD = {"key": ".", "code": "Period", "windowsVirtualKeyCode": 190}
BACKSPACE = {"key": "Backspace", "code": "Backspace", "windowsVirtualKeyCode": 8}


class Browser:
    """A Chromium with one page, driven over file descriptors 3 and 4."""

    def __init__(self, program, folder):
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()
        arguments = [program, "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                     f"--user-data-dir={folder}", "--window-size=1180,800"]
        if os.geteuid() == 0:
            # Its sandbox refuses root; it opens nothing but our own page.
            arguments.append("--no-sandbox")
        # The pipe's ends become descriptors 3 and 4 of the child: moved up first, since they may be those already.
        quoted = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        os.set_inheritable(to_read, True), os.set_inheritable(to_write, True)
        moved = [os.dup2(to_read, 20), os.dup2(to_write, 21)]
        environment = {**os.environ, "IN": "20", "OUT": "21"}
        self.child = subprocess.Popen(["bash", "-c", quoted, "sh", *arguments], pass_fds=moved, env=environment,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for descriptor in [to_read, to_write, *moved]:
            os.close(descriptor)
        self.number, self.rest, self.session, self.complaints = 0, b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.rest:
            part = os.read(self.read, 1 << 16)
            if not part:
                sys.exit("Chromium has ended")
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            # What a page must not do: throw, complain, or fetch from elsewhere.
            kind, found = message.get("method"), message.get("params", {})
            if kind == "Runtime.exceptionThrown":
                self.complaints.append(found["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            elif kind == "Log.entryAdded" and found["entry"]["level"] == "error" and "favicon" not in found["entry"].get("url", ""):
                self.complaints.append(f"{found['entry']['text']} {found['entry'].get('url', '')}")
            elif kind == "Network.requestWillBeSent":
                url = found["request"]["url"]
                if not url.startswith(("http://127.0.0.1:", "data:", "about:")):
                    self.complaints.append(f"the page fetches {url}")

    def value(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            sys.exit(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, what, expression):
        end = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < end:
            found = self.value(expression)
            if found:
                return found
            time.sleep(0.02)
        sys.exit(f"expected {what}; the page says: {self.value('document.body.innerText')!r}, complaints: {self.complaints}")

    def key(self, down, key):
        self.call("Input.dispatchKeyEvent", type="keyDown" if down else "keyUp", **key)

    def press(self, key):
        self.key(True, key)
        self.key(False, key)

    def picture(self, out, name, dark):
        if not out:
            return
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        data = self.call("Page.captureScreenshot", format="png")["data"]
        (out / f"{name}-{'dark' if dark else 'light'}.png").write_bytes(base64.b64decode(data))

    def end(self):
        self.child.kill()
        self.child.wait()


def play(worldloom, *arguments):
    child = subprocess.Popen([worldloom, "play", *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    text = ""
    for line in child.stdout:
        text += line
        if line == "}\n":
            return child, json.loads(text)
    sys.exit(f"worldloom play {arguments} said {text!r}")


def try_out(browser, said, lever, phase, name, out):
    """Keys, pause, single steps and a reset on one page."""
    browser.complaints.clear()
    browser.call("Page.navigate", url=said["url"])
    browser.until("a world that moves", "document.querySelector('#count') && +document.querySelector('#count').textContent > 8")
    browser.until("pictures", "[...document.querySelectorAll('figure img')].every(m => m.naturalWidth > 0)")
    browser.until(f"the phase {phase}", f"document.querySelector('#phase').textContent === {json.dumps(phase)}")
    value = f"parseFloat(document.querySelector('#value{lever}').textContent)"
    assert browser.value(value) == 0, "a lever that springs is at rest"
    before = browser.value("document.querySelector('#camera0').src")
    browser.key(True, RIGHT)
    moved = browser.until("the action of the key", f"{value} > 0 && {value}")
    assert browser.value("document.querySelector('kbd.down').dataset.code") == "ArrowRight", "the key is lit"
    browser.until("another picture", f"document.querySelector('#camera0').src !== {json.dumps(before)}")
    browser.picture(out, name, False), browser.picture(out, name, True)
    browser.key(False, RIGHT)
    browser.until("the lever at rest again", f"{value} === 0")
    browser.press(SPACE)
    browser.until("a pause", "document.querySelector('#pause').textContent === 'Go on'")
    count = "+document.querySelector('#count').textContent"
    time.sleep(0.3)
    held = browser.value(count)
    browser.press(PERIOD)
    browser.until("one step", f"{count} === {held + 1}")
    time.sleep(0.3)
    assert browser.value(count) == held + 1, "a single step is one step"
    browser.press(BACKSPACE)
    browser.until("the beginning", f"{count} === 0")
    assert browser.value("document.querySelector('#episode').textContent") == "2", "a reset begins another episode"
    browser.call("Input.insertText", text="")
    browser.value("document.querySelector('#next').click()")
    browser.until("the next seed", "document.querySelector('#seed').value === '1'")
    wide = browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide, "the page fits its window"
    assert not browser.complaints, browser.complaints
    print(f"{name}: {said['actions'][lever]} went to {moved} under →, back to 0, paused, stepped once, began again")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for pictures of the page")
    parser.add_argument("--find", action="store_true", help=f"only print which Chromium it would be; exit code {SKIPPED} for none")
    options = parser.parse_args()
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        print("play in a browser: skipped, there is no Chromium (apt-get install chromium)")
        sys.exit(SKIPPED)
    if options.find:
        print(program)
        return
    worldloom = os.environ.get("WORLDLOOM", "target/debug/worldloom")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        scenario = folder / "pushed_ball.yaml"
        scenario.write_text(SCENARIO)
        data, model = folder / "data", folder / "model"
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([worldloom, "generate", scenario, "--episodes", "4", "--out", data], **quiet)
        sizes = [word for setting in SMALL for word in ("--set", setting)]
        subprocess.run([worldloom, "train", "video", "--data", data, "--out", model, "--steps", "20", *sizes], **quiet)
        browser = Browser(program, folder / "profile")
        try:
            for name, phase, arguments in [
                ("physics", "physics", ["cart_pole", "--set", "terminate='joint(cartpole.slide) > 100'"]),
                ("dream", "dream", [str(model), "--data", str(data), "--steps", "2"]),
                ("dream-of-scene", "dream", [str(model), "--scenario", str(scenario), "--mode", "condition", "--steps", "2"]),
            ]:
                child, said = play(worldloom, *arguments)
                try:
                    try_out(browser, said, 0, phase, name, options.out)
                finally:
                    child.kill()
                    child.wait()
        finally:
            browser.end()


SMALL = ["image=32", "window=4", "batch=4", "model.dim=32", "model.depth=2", "model.heads=2", "model.hidden=32"]
SCENARIO = """\
worldloom: 1
name: pushed_ball
engine: {physics_rate: 200 Hz, control_rate: 20 Hz, duration: 2 s}
objects:
  floor: {plane: 20 m}
  ball: {sphere: 0.2, at: [0, 0, {uniform: [0.3, 0.9]}], mass: 1 kg, material: {colour: [0.9, 0.1, 0.1]}}
cameras:
  front: {resolution: [64, 64], fov: 45 deg, at: [0, -2.5, 0.8], look_at: [0, 0, 0.3]}
action: [force(ball)]
drivers:
  - random: {scale: 1, smooth: 0.2}
reward: pos(ball).z
"""

if __name__ == "__main__":
    main()
