"""Many containers, their images and snapshots; Engine is the door. See engine.py."""

from minidocker.engine.engine import Engine

__all__ = ["Engine"]
