"""The part of Docker's JSON that tells of limits, and of events.

limits(record), ulimits(record)   in HostConfig of GET /containers/ID/json        event(event)   one of GET /events
"""

from __future__ import annotations

from typing import Any

from minidocker.engine.events import Event
from minidocker.engine.record import ContainerRecord

JSON = dict[str, Any]


def limits(record: ContainerRecord) -> JSON:
    """Docker shows twice the memory as the limit of memory and swap together where none was asked for: that is what it then is."""
    return {
        "CpuShares": record.cpu_shares,
        "Memory": record.memory,
        "NanoCpus": round(record.cpus * 1e9),
        "BlkioWeight": record.blkio_weight,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": _rates(record.device_read_bps),
        "BlkioDeviceWriteBps": _rates(record.device_write_bps),
        "BlkioDeviceReadIOps": _rates(record.device_read_iops),
        "BlkioDeviceWriteIOps": _rates(record.device_write_iops),
        "CpuPeriod": record.cpu_period,
        "CpuQuota": record.cpu_quota,
        "CpusetCpus": record.cpuset_cpus,
        "CpusetMems": record.cpuset_mems,
        "MemoryReservation": record.memory_reservation,
        "MemorySwap": record.memory_swap or 2 * record.memory,
        "MemorySwappiness": None,
        "OomKillDisable": False,
        "PidsLimit": record.pids_limit or None,
    }


def _rates(rates: dict[str, int]) -> list[JSON] | None:
    return [{"Path": path, "Rate": rate} for path, rate in rates.items()] or None


def ulimits(record: ContainerRecord) -> list[JSON]:
    return [{"Name": name, "Hard": hard, "Soft": soft} for name, (soft, hard) in record.ulimits.items()]


def event(told: Event) -> JSON:
    """With the three old fields in front that clients still read."""
    return {
        "status": told.action,
        "id": told.id,
        "from": told.attributes.get("image", ""),
        "Type": told.type,
        "Action": told.action,
        "Actor": {"ID": told.id, "Attributes": told.attributes},
        "scope": "local",
        "time": told.time // 1_000_000_000,
        "timeNano": told.time,
    }
