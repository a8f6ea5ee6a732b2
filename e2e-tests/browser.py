#!/usr/bin/env python3
"""The status page in a real Chromium, by chromedriver and the WebDriver protocol.

    browser.py busy URL PICTURES                  while copies run
    browser.py quiet URL PICTURES LEDGER TOKEN    after they have ended
    browser.py outage URL PICTURES STOP START     the replicator ends and begins by these commands

Pictures of the page go into the folder PICTURES.
"""

import base64
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER = "\ue007"
# Whatever has not come by then does not come.
PATIENCE_S = 20
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}


class Browser:
    """A headless Chromium with a profile of its own."""

    def __enter__(self):
        self.profile = tempfile.mkdtemp()
        command = ["chromedriver", "--port=0"]
        self.driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = None
        while port is None:
            line = self.driver.stdout.readline()
            assert line, "chromedriver ended at once"
            if "successfully on port" in line:
                port = line.rstrip(".\n").rsplit(" ", 1)[1]
        self.base = f"http://127.0.0.1:{port}"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--hide-scrollbars", f"--user-data-dir={self.profile}"]
        capabilities = {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
                        "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": options}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += f"/session/{session['sessionId']}"
        return self

    def __exit__(self, *_):
        self.call("DELETE", "", None)
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent.trim()", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def find(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def type(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click", {})

    def chrome(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def prefer(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.chrome("Emulation.setEmulatedMedia", features=features)

    def resize(self, width, height):
        self.chrome("Emulation.setDeviceMetricsOverride", width=width, height=height,
                    deviceScaleFactor=1, mobile=width < 600)

    def picture(self, path):
        """The whole page, beyond what the window shows."""
        picture = self.chrome("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))

    def complaints(self):
        """What the browser's log has of errors since it was last asked."""
        log = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]


def until(what, condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)
    return found


def pictures(browser, folder, name):
    """The page in all its looks, none of which may be wider than the window."""
    for size, (width, height) in SIZES.items():
        browser.resize(width, height)
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            browser.picture(f"{folder}/{name}-{size}-{scheme}.png")
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"at {size} width the page is {wide} pixels too wide"


def figures(browser):
    names = ("present", "stale", "failed", "refused", "waiting", "copying")
    return {name: int(browser.text(f"#count-{name}")) for name in names}


def search(browser, text):
    """Searches by keyboard alone; the seconds until the answer is there."""
    begin = time.monotonic()
    browser.run("document.querySelector('[name=search]').value = ''")
    browser.type("[name=search]", text + ENTER)
    until("the answer to a search", lambda: f"search={text}" in browser.run("return location.search"))
    until("the page after a search", lambda: browser.run("return document.readyState") == "complete")
    return time.monotonic() - begin


def busy(browser, url, folder):
    browser.open(url)
    until("the page is live", lambda: browser.text("#connection") == "Live")
    until("a bar", lambda: browser.count("#copying progress[value]") > 0)
    until("a rate", lambda: "/s" in (browser.text("#copying tbody") or ""))
    pictures(browser, folder, "busy")
    took = search(browser, "app-1")
    shown = browser.count("#inventory tbody tr")
    assert shown > 0 and "app-1" in browser.text("#inventory tbody")
    assert figures(browser)["waiting"] > 0, "the copies had ended before the search was done"
    print(f"while copies ran, a search by keyboard was answered in {took:.2f} s")
    check_log(browser)


def quiet(browser, url, folder, ledger, token):
    browser.open(url)
    until("the page is live", lambda: browser.text("#connection") == "Live")
    held = until("the same figures on the page, of the API and in the ledger", lambda: agreed(browser, url, ledger))
    print("figures on the page, of the API and in the ledger:", held)
    assert browser.run("return document.title") == "Image Replicator", "a stranger's script ran"
    assert "<script>" in browser.text("#failed tbody"), "the stranger's words are not shown as text"
    assert "paused" in browser.text("#registries tbody") and "0 of 100 left" in browser.text("#registries tbody")
    pictures(browser, folder, "quiet")
    retry(browser, ledger, token)
    pictures(browser, folder, "retried")
    check_log(browser)
    browser.chrome("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(url + "?state=refused")
    browser.picture(f"{folder}/without-script.png")
    browser.chrome("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.count("#inventory tbody tr") == held["refused"], "without a script the page says less"


def agreed(browser, url, ledger):
    """How many sources there are in each state, if all three say the same; a failed copy is tried
    again now and then, so they may differ for a moment."""
    rows = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True).execute(
        "SELECT state, COUNT(*) FROM replicas GROUP BY state").fetchall()
    held = dict.fromkeys(("present", "stale", "failed", "refused"), 0) | dict(rows)
    with urllib.request.urlopen(url + "api/v1/overview") as reply:
        told = json.load(reply)["counts"]
    shown = figures(browser)
    states = ("present", "stale", "failed", "refused")
    agree = all(shown[state] == told[state] == held[state] for state in states)
    return held if agree and sum(told.values()) == sum(held.values()) else None


def retry(browser, ledger, token):
    claims = "SELECT claims FROM replicas WHERE source = ?"
    button = "#failed button[data-retry*='shop/none']"
    source = browser.run("return document.querySelector(arguments[0]).dataset.retry", button)
    query = lambda: sqlite3.connect(f"file:{ledger}?mode=ro", uri=True).execute(claims, [source]).fetchone()
    before = query()
    browser.run("document.querySelector(arguments[0]).focus()", button)
    browser.click(button)
    until("the question for the token", lambda: browser.run("return document.querySelector('#token').open"))
    browser.type("#token-field", token + ENTER)
    until("another try", lambda: query() > before)
    assert browser.count("#token[open]") == 0


def check_log(browser):
    complaints = browser.complaints()
    assert not complaints, complaints


def main(scene, url, folder, *rest):
    os.makedirs(folder, exist_ok=True)
    with Browser() as browser:
        if scene == "busy":
            busy(browser, url, folder)
        elif scene == "quiet":
            quiet(browser, url, folder, *rest)
        elif scene == "outage":
            outage(browser, url, *rest)


def outage(browser, url, stop, start):
    """The replicator ends while somebody looks, and comes back."""
    browser.open(url)
    until("the page is live", lambda: browser.text("#connection") == "Live")
    begin = time.monotonic()
    subprocess.run(["bash", "-c", stop], check=True)
    print(f"with a page open it ended in {time.monotonic() - begin:.1f} s")
    until("the page says that it hears nothing", lambda: "Lost" in browser.text("#connection"))
    subprocess.run(["bash", "-c", start], check=True)
    until("the page is live again", lambda: browser.text("#connection") == "Live")


if __name__ == "__main__":
    main(*sys.argv[1:])
