"""Image names as Docker writes and normalises them.

    ref = Reference.parse("alpine")        # docker.io/library/alpine:latest
    ref.domain, ref.path, ref.tag, ref.digest
    str(ref)                               # canonical: docker.io/library/alpine:latest
    ref.familiar()                         # as people write it: alpine:latest

Grammar: [domain[:port]/]path[/path...][:tag][@digest]. The first component is a domain only if it looks like one (has a dot, a colon
or an upper-case letter, or is "localhost"); otherwise the image comes from Docker Hub, where one-word names live under "library/".
"""

from __future__ import annotations

import re

import msgspec

from minidocker.errors import SpecError

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_LONGEST_NAME = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True, order=True):
    """A normalised image name. *tag* or *digest* may be "", but not both."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Understand *text* and fill in what was left out. SpecError says which part is wrong."""
        name, _, digest = text.partition("@")
        if "@" in text and not _DIGEST.fullmatch(digest):
            raise _bad(text, "the part after '@' is no sha256 digest", "a digest is 'sha256:' and 64 lower-case hexadecimal digits")
        # A colon before the last slash belongs to the port of the domain, not to a tag.
        slash, colon = name.rfind("/"), name.rfind(":")
        tag = ""
        if colon > slash:
            name, tag = name[:colon], name[colon + 1 :]
            if not _TAG.fullmatch(tag):
                raise _bad(text, f"invalid tag {_short(tag)}", "a tag is a letter, digit or '_', then up to 127 more of these, '.' or '-'")
        domain, path = _split_domain(name)
        _check_name(text, domain, path)
        if _IMAGE_ID.fullmatch(name):
            raise _bad(text, "64 hexadecimal digits are an image id, not a name", "choose another name, or write 'sha256:' before an id")
        return cls(domain, path, tag if tag or digest else DEFAULT_TAG, digest)

    @property
    def name(self) -> str:
        """The repository, without tag and digest."""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        return self.name + self._suffix()

    def familiar(self) -> str:
        """The shortest text that parses to this reference, tag written out: ``busybox:latest``."""
        short = self.name
        for shorter in (self.path, self.path.removeprefix(_OFFICIAL)):
            if _split_domain(shorter) == (self.domain, self.path):
                short = shorter
        return short + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        first, rest = DEFAULT_DOMAIN, name
    if first == "index.docker.io":  # the Hub's name of long ago
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _check_name(text: str, domain: str, path: str) -> None:
    if not _DOMAIN.fullmatch(domain):
        raise _bad(text, f"invalid registry name {_short(domain)}")
    if len(domain) + 1 + len(path) > _LONGEST_NAME:
        raise _bad(text, f"the name is longer than {_LONGEST_NAME} characters")
    components = path.split("/")
    if all(_PATH_COMPONENT.fullmatch(part) for part in components):
        return
    if path != path.lower() and all(_PATH_COMPONENT.fullmatch(part) for part in path.lower().split("/")):
        short = path.removeprefix(_OFFICIAL)
        raise _bad(text, "the name must be lower-case", f"did you mean {_short(text.replace(short, short.lower(), 1))}?")
    raise _bad(text, "invalid name", "use lower-case letters and digits, separated by '.', '_', '-' or '/'")


def _bad(text: str, why: str, hint: str = "names look like 'busybox', 'busybox:1.36' or 'registry.example:5000/team/app:v2'") -> SpecError:
    return SpecError(f"invalid image reference {_short(text)}: {why}", hint=hint)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
