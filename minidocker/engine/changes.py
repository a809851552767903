"""What ``import --change`` (later ``commit`` and the daemon) may say about an image: a few Dockerfile instructions, each by itself.

image_config(['CMD ["sh"]', "ENV A=1 B=2", "USER 1000"])    -> ContainerConfig
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from minidocker.errors import SpecError
from minidocker.oci.image import ContainerConfig

_CHANGES = ("CMD", "ENTRYPOINT", "ENV", "LABEL", "STOPSIGNAL", "USER", "WORKDIR")


def image_config(changes: Iterable[str]) -> ContainerConfig:
    """The configuration that *changes* describe. SpecError for an instruction that is not one of these, or cannot be read."""

    settings: dict[str, Any] = {}
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        rest = rest.strip()
        key = word.upper()
        if key in ("CMD", "ENTRYPOINT"):
            settings[key.lower()] = _command(rest)
        elif key in ("WORKDIR", "USER", "STOPSIGNAL"):
            settings[{"WORKDIR": "working_dir", "USER": "user", "STOPSIGNAL": "stop_signal"}[key]] = rest
        elif key == "ENV":
            settings.setdefault("env", []).extend(f"{name}={value}" for name, value in _pairs(rest))
        elif key == "LABEL":
            settings.setdefault("labels", {}).update(_pairs(rest))
        else:
            raise SpecError(f"{word} is not a valid change command", hint=f"these are: {', '.join(_CHANGES)}")
    return ContainerConfig(**settings)


def _command(text: str) -> list[str]:
    """``["sh", "-c", "date"]``, or a line for the shell."""
    if not text.startswith("["):
        return ["/bin/sh", "-c", text]
    try:
        words = json.loads(text)
    except ValueError as error:
        raise SpecError(f"invalid command {text[:80]!r}", hint='write ["program", "argument"] with double quotes') from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SpecError(f"invalid command {text[:80]!r}", hint='write ["program", "argument"] with double quotes')
    return words


def _pairs(text: str) -> list[tuple[str, str]]:
    """``A=1 B="two words"``, or the old ``A 1``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SpecError(f"cannot read {text[:80]!r}: {error}") from error
    if words and "=" not in words[0]:
        return [(words[0], " ".join(words[1:]))]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]
