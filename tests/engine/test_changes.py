"""The instructions of ``import --change``."""

from __future__ import annotations

import pytest

from minidocker.engine.changes import image_config
from minidocker.errors import SpecError
from minidocker.oci.image import ContainerConfig


def test_all_instructions() -> None:
    changes = ['CMD ["sh", "-c", "date"]', "entrypoint ls -l", 'ENV A=1 B="two words"', "ENV OLD style of it"]
    changes += ["LABEL a=b c", "USER 1000", "WORKDIR /srv"]
    assert image_config([*changes, "STOPSIGNAL SIGINT"]) == ContainerConfig(
        cmd=["sh", "-c", "date"],
        entrypoint=["/bin/sh", "-c", "ls -l"],
        env=["A=1", "B=two words", "OLD=style of it"],
        labels={"a": "b", "c": ""},
        user="1000",
        working_dir="/srv",
        stop_signal="SIGINT",
    )
    assert image_config([]) == ContainerConfig()


@pytest.mark.parametrize("change", ["RUN true", "", 'CMD ["sh"', "CMD [1]", 'ENV A="x', "CMDsh"])
def test_what_is_no_instruction(change: str) -> None:
    with pytest.raises(SpecError) as caught:
        image_config([change])
    assert caught.value.message
