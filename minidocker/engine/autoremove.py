"""What `run --rm` promises when nobody is there to keep the promise: run by the container's monitor as an OCI poststop hook.

    python -m minidocker.engine.autoremove NAME ROOT RUN CONTAINER_ID
"""

from __future__ import annotations

import sys

from minidocker.engine.engine import Engine
from minidocker.errors import ContainerNotFound


def main(name: str, root: str, run: str, container_id: str) -> None:
    """Remove the container, unless somebody has done it."""
    with Engine(name, root=root, run=run) as engine:
        try:
            engine.containers.get(container_id).remove()
        except ContainerNotFound:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
