"""Run Python code in a child process that is killed, as by kill -9, at a named point.

    die_at("before rename", code)    # the child is dead afterwards, and the point had been reached

A point is "before CALL" or "after CALL", where CALL is a function of the module os (the first call counts; "before rename 2": the second).
"""

from __future__ import annotations

import signal
import subprocess
import sys

_PRELUDE = """
import os, signal, sys
when, call, number = sys.argv[1].split()
original, left = getattr(os, call), [int(number)]
def dying(*args, **kwargs):
    left[0] -= 1
    if left[0] == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(os, call, dying)
"""


def die_at(point: str, code: str) -> None:
    """Run *code* and have it killed at *point*. Fails if it ends in any other way."""
    point += " 1" if len(point.split()) == 2 else ""
    done = subprocess.run([sys.executable, "-c", _PRELUDE + code, point], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, f"{point} was not reached: exit {done.returncode}\n{done.stderr}"
