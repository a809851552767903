"""Where an engine keeps its state: every directory and file name follows from the engine's name.

    paths = Paths("minidocker")     # or Paths("mdlab", root=..., run=...)
    paths.images                    # /var/lib/minidocker/images

Several engines share a machine by having different names. Nothing is created here; see ARCHITECTURE.md, "State on disk".
"""

from __future__ import annotations

import re
from pathlib import Path

from minidocker.errors import SpecError

DEFAULT_NAME = "minidocker"
# 15 characters because the name also becomes part of network interface names (IFNAMSIZ) and of cgroup paths.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")


class Paths:
    """The directories of the engine called *name*. SpecError if *name* could not be a file and cgroup name."""

    def __init__(self, name: str = DEFAULT_NAME, root: str | Path | None = None, run: str | Path | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise SpecError(
                f"invalid engine name {name[:40]!r}",
                hint="use 1 to 15 characters: a lower-case letter first, then lower-case letters, digits or '-'",
            )
        self.name = name
        self.root = Path(root if root is not None else f"/var/lib/{name}").absolute()
        self.run = Path(run if run is not None else f"/run/{name}").absolute()

    @property
    def db(self) -> Path:
        """The SQLite file with the containers' names and records."""
        return self.root / "engine.db"

    @property
    def images(self) -> Path:
        """The image store, an OCI image layout."""
        return self.root / "images"

    @property
    def layers(self) -> Path:
        """The unpacked layers, one directory per chain id."""
        return self.root / "layers"

    @property
    def containers(self) -> Path:
        """What a container keeps while it is stopped: bundle, upper directory, log."""
        return self.root / "containers"

    @property
    def run_containers(self) -> Path:
        """What a container needs only while the machine is up: state and sockets."""
        return self.run / "containers"
