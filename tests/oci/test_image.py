"""Manifests, indexes and configurations: read what others write, refuse garbage, write the same bytes every time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.errors import SpecError
from minidocker.oci import image as spec

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def manifest(**changes: Any) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": spec.MANIFEST,
        "config": {"mediaType": spec.CONFIG, "digest": A, "size": 7},
        "layers": [{"mediaType": spec.LAYER_GZIP, "digest": B, "size": 9}],
    }
    return json.dumps(value | changes).encode()


def config(**changes: Any) -> bytes:
    value = {"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [A]}}
    return json.dumps(value | changes).encode()


def test_manifest_of_oci_and_of_docker() -> None:
    ours = spec.decode_manifest(manifest())
    assert (ours.config.digest, ours.layers[0].size) == (A, 9)
    docker = spec.decode_manifest(manifest(mediaType=spec.DOCKER_MANIFEST))
    assert docker.layers == ours.layers
    without = json.loads(manifest())
    del without["mediaType"]  # OCI lets it be left out
    assert spec.decode_manifest(json.dumps(without).encode()) == ours


def test_index_of_platforms() -> None:
    where = {"architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1"}
    entry = {"mediaType": spec.MANIFEST, "digest": A, "size": 1, "platform": where}
    index = spec.decode_index(json.dumps({"schemaVersion": 2, "mediaType": spec.DOCKER_INDEX, "manifests": [entry]}).encode())
    platform = index.manifests[0].platform
    assert platform is not None
    assert (platform.architecture, platform.variant, platform.os_version) == ("arm", "v7", "1")


def test_config_as_docker_writes_it() -> None:
    """Docker writes null for what is empty, and fields of its own."""
    docker = config(
        created="2024-02-29T12:34:56.123456789Z",
        container="x",
        docker_version="24",
        config={"Cmd": ["sh"], "Env": ["A=b"], "Entrypoint": None, "Volumes": None, "Labels": None, "OnBuild": None, "WorkingDir": "/w",
                "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT", "User": "1:2", "ArgsEscaped": True},
        history=[{"created": "2024-02-29T12:34:56Z", "created_by": "CMD", "empty_layer": True}],
    )  # fmt: skip
    made = spec.decode_config(docker)
    assert (made.config.cmd, made.config.env, made.config.entrypoint, made.config.volumes) == (["sh"], ["A=b"], [], {})
    assert (made.config.working_dir, made.config.user, made.config.stop_signal) == ("/w", "1:2", "SIGINT")
    assert made.config.exposed_ports == {"80/tcp": {}}
    assert made.created is not None
    assert made.created.year == 2024
    assert made.history[0].empty_layer


def test_unknown_fields_are_ignored() -> None:
    assert spec.decode_manifest(manifest(subject={"x": 1}, future=[1, 2])) == spec.decode_manifest(manifest())
    assert spec.decode_config(config(moby={"y": 2})) == spec.decode_config(config())


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "schemaVersion"),
        (manifest(config=None), "config"),
        (manifest(layers="x"), "$.layers"),
        (manifest(layers=[{"mediaType": "x", "digest": B, "size": -1}]), "$.layers[0].size"),
        (manifest(layers=[{"mediaType": "x", "digest": B, "size": 1.5}]), "$.layers[0].size"),
        (manifest(layers=[{"mediaType": "x", "digest": B + "\n", "size": 1}]), "$.layers[0].digest"),
        (manifest(layers=[{"mediaType": "x", "digest": "../../etc/passwd", "size": 1}]), "$.layers[0].digest"),
        (manifest(mediaType=spec.INDEX), "not an image manifest"),
        (manifest(schemaVersion=3), "not an image manifest"),
        (b'{"schemaVersion": 1, "name": "old", "fsLayers": []}', "schema version 1"),
    ],
    ids=range(15),
)
def test_a_bad_manifest_says_what_is_wrong(raw: bytes, word: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec.decode_manifest(raw)
    assert word in str(caught.value)


def test_bad_configs_and_indexes() -> None:
    zip_file, no_digest = {"type": "zip", "diff_ids": []}, {"type": "layers", "diff_ids": ["x"]}
    for raw in (config(rootfs=zip_file), config(rootfs=no_digest), config(created="yesterday")):
        with pytest.raises(SpecError):
            spec.decode_config(raw)
    with pytest.raises(SpecError):
        spec.decode_index(manifest())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_is_understood_or_a_spec_error(value: Any) -> None:
    for decode in (spec.decode_manifest, spec.decode_config, spec.decode_index):
        with contextlib.suppress(SpecError):
            decode(json.dumps(value).encode())


def test_encoding_is_stable_and_reads_back() -> None:
    made = spec.ImageConfig(
        architecture="amd64",
        os="linux",
        config=spec.ContainerConfig(labels={"b": "2", "a": "1"}, env=["X=1"]),
        rootfs=spec.RootFS(diff_ids=[A, B]),
    )
    again = spec.ImageConfig(
        architecture="amd64",
        os="linux",
        config=spec.ContainerConfig(labels={"a": "1", "b": "2"}, env=["X=1"]),
        rootfs=spec.RootFS(diff_ids=[A, B]),
    )
    assert spec.encode(made) == spec.encode(again)
    assert spec.decode_config(spec.encode(made)) == made
    assert json.loads(spec.encode(made))["config"] == {"Env": ["X=1"], "Labels": {"a": "1", "b": "2"}}
    read = spec.decode_manifest(manifest(annotations={"z": "1"}))
    assert spec.decode_manifest(spec.encode(read)) == read


def test_chain_ids_are_those_of_the_specification() -> None:
    """ChainID(A|B) = sha256(ChainID(A) + " " + DiffID(B)), image-spec config.md."""
    second = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    third = "sha256:" + hashlib.sha256(f"{second} {C}".encode()).hexdigest()
    assert spec.chain_ids([A, B, C]) == [A, second, third]
    assert spec.chain_ids([]) == []
    assert spec.chain_ids([B, A])[1] != second
