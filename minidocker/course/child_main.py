"""What a %%child process runs: take code from the control socket, execute it, say how it went, until the socket closes.

Started by child.py as a script, with the control socket's number as its argument. It stays single-threaded and imports little, so that
unshare(2), setns(2) and fork(2) do here what the man pages say. One JSON line each way: {code, values, name} -> {result, error}.
"""

from __future__ import annotations

import io
import json
import linecache
import os
import signal
import socket
import sys
import traceback
from typing import Any


def describe(error: BaseException, name: str) -> dict[str, Any]:
    """The parts of *error* that the notebook shows. Of the traceback only the cell's own frames: the learner can act on those."""
    summary = traceback.TracebackException.from_exception(error)
    own = [frame for frame in summary.stack if frame.filename == name]
    summary.stack[:] = own
    lines = list(summary.format())
    if hint := getattr(error, "hint", ""):
        lines.append(f"hint: {hint}\n")
    return {"type": type(error).__name__, "message": str(error), "errno": getattr(error, "errno", None), "traceback": lines}


def execute(request: dict[str, Any], space: dict[str, Any], owner: int) -> dict[str, Any]:
    """Run one cell in *space*. A process that the cell forked never comes back from here: it ends where its code ends."""
    name, code = request["name"], request["code"]
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    space.update(request["values"])
    space.pop("result", None)
    answer: dict[str, Any] = {"result": None}
    try:
        exec(compile(code, name, "exec"), space)
    except SystemExit as ended:
        leave(ended.code)
    except BaseException as error:  # reported to the notebook, which raises it again
        if os.getpid() != owner:
            sys.stderr.write("".join(describe(error, name)["traceback"]))
            leave(1)
        answer["error"] = describe(error, name)
    if os.getpid() != owner:
        leave(0)
    try:
        json.dumps(space.get("result"))
        answer["result"] = space.get("result")
    except TypeError:
        pass  # the cell's `result` is something JSON cannot carry; only checks look at it
    return answer


def leave(code: object) -> None:
    sys.stdout.flush()
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)  # an exec'd program must not hold it: its end tells the notebook
    owner = os.getpid()
    # A line is one write, so that the lines of several processes do not mix; and a fork does not inherit half of one.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
            os.register_at_fork(before=stream.flush)
    sys.argv = ["child"]
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    with control.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            answer = execute(json.loads(line), space, owner)
            sys.stdout.flush()
            sys.stderr.flush()
            control.sendall(json.dumps(answer).encode() + b"\n")
    # The notebook closed its end, or died: whatever this child left in its own process group goes with it.
    if os.getpgrp() == owner:
        os.killpg(owner, signal.SIGKILL)


if __name__ == "__main__":
    main()
