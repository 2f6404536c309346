"""The page in a real browser: phone and desktop, sliders by touch of a key, no request, no message in the console.

Chromium is driven by the DevTools protocol through a pipe, so the test needs no driver and no port.
"""

import base64
import fcntl
import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from downstream.report.report import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "about:blank",
]
QUIET = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
WIDEST = "Math.max(...Array.from(document.querySelectorAll('body *')).filter(e => e.checkVisibility()"
WIDEST += " && !e.closest('.skip, nav ul, legend, thead')).map(e => e.getBoundingClientRect().right))"


class Browser:
    """One tab of a headless Chromium; `events` is all that it said unasked."""

    def __init__(self, folder):
        command_read, self.commands = os.pipe()
        answers, answer_write = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (command_read, answer_write)]  # clear of 3 and 4
        actions = [
            (os.POSIX_SPAWN_DUP2, ends[0], 3),
            (os.POSIX_SPAWN_DUP2, ends[1], 4),
            *((os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)),
        ]
        arguments = [CHROMIUM, f"--user-data-dir={folder}", *FLAGS]
        self.process = os.posix_spawn(CHROMIUM, arguments, os.environ, file_actions=actions)
        for end in (command_read, answer_write, *ends):
            os.close(end)
        self.answers, self.number, self.session, self.events = os.fdopen(answers, "rb"), 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _receive(self):
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "Chromium went away"
            text += byte
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path, width, height, scheme="light"):
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen = len(self.events)
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[seen:]):
            self.events.append(self._receive())

    def run(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def shot(self, selector=None):
        clip = {}
        if selector:
            box = self.run(
                f"(r => [r.x + scrollX, r.y + scrollY, r.width, r.height])({selector}.getBoundingClientRect())"
            )
            clip = {"clip": dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=bool(selector), **clip)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), int)

    def close(self):
        self.session = None
        self.call("Browser.close")
        os.waitpid(self.process, 0)
        os.close(self.commands)
        self.answers.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip(
            "no Chromium installed (Debian: apt-get install chromium); the page's structure is tested without it"
        )
    tab = Browser(tmp_path_factory.mktemp("chromium"))
    yield tab
    tab.close()


def test_on_a_phone_a_key_moves_the_slice_and_nothing_sticks_out(browser, box_dataset, tmp_path):
    made = report(box_dataset(4), tmp_path / "out", 2)
    browser.open(made.page, 360, 740)
    assert browser.run("document.documentElement.scrollWidth") == 360
    assert browser.run(WIDEST) <= 360
    first = browser.run("document.querySelector('.axial output').textContent")
    frame = "document.querySelector('.axial .frame')"
    before = browser.shot(frame)
    browser.run("document.querySelector('.axial input').focus()")
    browser.press("ArrowRight", 39)
    after = browser.shot(frame)
    assert browser.run("document.querySelector('.axial output').textContent") != first
    assert np.abs(after - before).max() > 20
    browser.press("ArrowLeft", 37)
    assert browser.run("document.querySelector('.axial output').textContent") == first
    assert browser.run("document.querySelector('.axial input').getBoundingClientRect().height") >= 44


def test_on_a_desk_windows_masks_and_pointing_work_in_dark_and_light(browser, box_dataset, tmp_path):
    made = report(box_dataset(4), tmp_path / "out", 2)
    papers = []
    for scheme in ("light", "dark"):
        browser.open(made.page, 1280, 900, scheme)
        papers.append(browser.shot()[5, 5].mean())
    assert papers[0] > 200
    assert papers[1] < 40
    frame = "document.querySelector('.coronal .frame')"
    pictures = {}
    for name in ("masks-all", "masks-none", "window-1-on"):
        browser.run(f"document.getElementById('{name}').click()")
        pictures[name] = browser.shot(frame)
    colour = {name: np.ptp(picture, axis=-1).max() for name, picture in pictures.items()}
    assert colour["masks-all"] > 60
    assert colour["masks-none"] < 20
    assert pictures["window-1-on"].mean() > pictures["masks-none"].mean() + 10  # soft tissue is bright in a lung window
    there = "document.querySelector('.sagittal output').textContent"
    before = browser.run(there)
    box = browser.run(
        f"{frame}.scrollIntoView(), (r => [r.x, r.y, r.width, r.height])({frame}.getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        place = {"x": box[0] + 0.9 * box[2], "y": box[1] + 0.5 * box[3]}
        browser.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
    assert browser.run(there) != before
    assert browser.run(there).endswith("L")


def test_the_browser_was_silent_and_asked_for_nothing(browser):
    said = [event for event in browser.events if event["method"] in QUIET]
    assert said == []
    asked = {
        event["params"]["request"]["url"].split(":")[0]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked <= {"file", "data"}
