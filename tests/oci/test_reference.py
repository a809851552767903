"""References: Docker's grammar, and its normalisation."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minidocker.errors import SpecError
from minidocker.oci.reference import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

# What docker itself makes of these names.
NORMALISED = {
    "alpine": ("docker.io", "library/alpine", "latest", ""),
    "alpine:3.19": ("docker.io", "library/alpine", "3.19", ""),
    "library/alpine": ("docker.io", "library/alpine", "latest", ""),
    "docker.io/alpine": ("docker.io", "library/alpine", "latest", ""),
    "index.docker.io/library/alpine": ("docker.io", "library/alpine", "latest", ""),
    "team/app": ("docker.io", "team/app", "latest", ""),
    "a/b/c/d:e": ("docker.io", "a/b/c/d", "e", ""),
    "localhost/x": ("localhost", "x", "latest", ""),
    "localhost:5000/x": ("localhost:5000", "x", "latest", ""),
    "localhost:5000": ("docker.io", "library/localhost", "5000", ""),
    "127.0.0.1:5000/a/b:c": ("127.0.0.1:5000", "a/b", "c", ""),
    "[::1]:5000/x": ("[::1]:5000", "x", "latest", ""),
    "quay.io/x": ("quay.io", "x", "latest", ""),
    "Team/app": ("Team", "app", "latest", ""),  # upper case cannot be a path, so it is a host name
    f"alpine@{DIGEST}": ("docker.io", "library/alpine", "", DIGEST),
    f"r.example/alpine:3@{DIGEST}": ("r.example", "alpine", "3", DIGEST),
    "a--b/c__d.e_f": ("docker.io", "a--b/c__d.e_f", "latest", ""),
    "x:" + "t" * 128: ("docker.io", "library/x", "t" * 128, ""),
}

REFUSED = [
    *(
        "",
        ":",
        "@",
        "/",
        "a/",
        "/a",
        "a//b",
        "a:",
        "a:b:c",
        "a b",
        " a",
        "a\n",
        "a\0",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "_a",
        "ä",
        "https://a/b",
    ),
    *("x:-tag", "x:.tag", "x:tä", "x:" + "t" * 129, "a@", "a@sha256:", f"a@{DIGEST}0", f"a@{DIGEST.upper()}", "a@md5:" + "0" * 32),
    *("0123456789abcdef" * 4, "ALPINE", "docker.io/Alpine", "a/B", "host.:5000/x", "-host.x/a", "host.x:port/a", "a" * 256, "x" * 5000),
]


@pytest.mark.parametrize(("text", "expected"), NORMALISED.items())
def test_names_are_normalised(text: str, expected: tuple[str, str, str, str]) -> None:
    ref = Reference.parse(text)
    assert (ref.domain, ref.path, ref.tag, ref.digest) == expected


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_what_is_no_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Reference.parse(text)
    assert caught.value.hint
    assert len(str(caught.value)) < 300


def test_upper_case_is_refused_with_the_right_spelling() -> None:
    with pytest.raises(SpecError) as caught:
        Reference.parse("BusyBox:Latest")
    assert "lower-case" in str(caught.value)
    assert caught.value.hint == "did you mean 'busybox:Latest'?"


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/busybox", "busybox:latest"),
        ("docker.io/team/app:v1", "team/app:v1"),
        ("localhost:5000/busybox", "localhost:5000/busybox:latest"),
        (f"busybox@{DIGEST}", f"busybox@{DIGEST}"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("docker.io/localhost/x", "docker.io/localhost/x:latest"),  # "localhost/x" would be another image
    ],
)
def test_familiar_form(text: str, familiar: str) -> None:
    assert Reference.parse(text).familiar() == familiar


component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
names = st.builds(
    lambda domain, path, tag, digest: "/".join([*domain, *path]) + tag + digest,
    st.sampled_from(
        [[], ["localhost"], ["r.example"], ["r.example:5000"], ["[fe80::1]"], ["docker.io"], ["library"], ["docker.io", "library"]]
    ),
    st.lists(component, min_size=1, max_size=4),
    st.sampled_from(["", ":latest", ":V1.2-x_y"]),
    st.sampled_from(["", "@" + DIGEST]),
).filter(lambda name: not re.match(r"(?=[^/]*\.)(?=[^/]*_)[^/]*/", name))  # "a.b_c/x": the dot makes it a host, where no "_" may be


@given(names)
@example("docker.io/localhost/x")
@example("docker.io/library/localhost/x")
@example("docker.io/library/a.b/x")
def test_every_form_means_the_same_reference(name: str) -> None:
    ref = Reference.parse(name)
    assert Reference.parse(str(ref)) == ref
    assert Reference.parse(ref.familiar()) == ref
    assert len(ref.familiar()) <= len(str(ref))


@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_a_spec_error(text: str) -> None:
    try:
        ref = Reference.parse(text)
    except SpecError:
        return
    assert Reference.parse(str(ref)) == ref
    assert ref.path == ref.path.lower()
