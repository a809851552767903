#!/usr/bin/python3
"""Start the lab, wait until it answers, and say where it is: the last thing that `vagrant up` and `vagrant reload` do, as root inside.

start.py PORT    PORT: the host's port that leads to this machine's lab
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request

UNIT = "minidocker-lab.service"
SETTINGS = "/etc/minidocker/lab.env"
PATIENCE = 300  # seconds; without hardware virtualization the lab needs more than one minute


def token() -> str:
    with open(SETTINGS, encoding="utf-8") as file:
        return next(line.partition("=")[2].strip() for line in file if line.startswith("JUPYTER_TOKEN="))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def is_running() -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", UNIT]).returncode == 0


def main(port: str) -> int:
    started = time.monotonic()
    # Not enabled at boot: the lessons come with the synced folder, which is mounted after it.
    subprocess.run(["systemctl", "start", UNIT], check=True)
    while not answers(f"http://127.0.0.1:8888/api/status?token={token()}"):
        if not is_running() or time.monotonic() - started > PATIENCE:
            print(f"The lab does not answer. Its own words (journalctl -u {UNIT}):", file=sys.stderr)
            subprocess.run(["journalctl", "--no-pager", "--lines=30", f"--unit={UNIT}"], stdout=sys.stderr)
            return 1
        time.sleep(0.5)  # a server tells nobody that it is ready but by answering
    print(f"The lab is open ({time.monotonic() - started:.0f} s). In your browser:\n\n    http://localhost:{port}/lab?token={token()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
