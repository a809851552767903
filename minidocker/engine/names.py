"""Names for containers whose owner gave none: an adjective and somebody who built what containers stand on."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "able brave bright calm clever curious daring eager earnest fair fast fearless free gentle glad honest humble jolly keen kind "
    "light lively lucid merry mild modest neat nimble noble patient plucky polite proud quick quiet ready serene sharp sober steady "
    "sturdy subtle sunny swift tidy upbeat vivid warm wise witty"
).split()
_PEOPLE = (
    "allen babbage backus bartik biederman boole cerf codd corbato dijkstra engelbart floyd goldberg hamilton hamming hoare holberton "
    "hopper johnson joy kahn kay kernighan kilburn knuth lamport liskov lovelace mcilroy mckusick metcalfe moore naur papert perlman "
    "pike postel ritchie shannon stallman strachey sutherland tanenbaum thompson torvalds turing viro wall wilkes wirth wozniak"
).split()


def made_up_name() -> str:
    """Such as "keen_ritchie", with a number: a thousand containers shall not meet."""
    number = int.from_bytes(os.urandom(8))
    return f"{_ADJECTIVES[number % len(_ADJECTIVES)]}_{_PEOPLE[number // 1000 % len(_PEOPLE)]}{number // 1_000_000 % 100_000}"
