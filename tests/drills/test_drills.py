"""Every drill, briefly: nothing that is told is wrong, and everybody recovers."""

from __future__ import annotations

import pytest

from .drill import Drill, Outcome
from .every import DRILLS
from .home import run, scene_of, usage

LEFT_BEHIND = ("tasks", "files", "threads")
# Some take minutes even once: they are for scripts/drill alone.
BRIEF = [drill for drill in DRILLS.values() if drill.brief]
ALONE = [drill.name for drill in BRIEF if drill.scene is None]
TOGETHER: dict[str, list[Drill]] = {}
for drill in BRIEF:
    if drill.scene is not None:
        name = f"{drill.scene.__module__}.{drill.scene.__name__}"
        TOGETHER.setdefault(name.rpartition("drills.")[2], []).append(drill)


def judge(drill: Drill, outcome: Outcome) -> None:
    """See that nothing happened that must not."""
    assert outcome.injected >= drill.brief
    assert outcome.wrong == [], drill.name
    assert outcome.exceptions == [], drill.name
    assert outcome.broken_rules == [], drill.name
    # Whatever a fault left behind would be there once for each.
    assert max(outcome.growth.get(name, 0) for name in LEFT_BEHIND) <= 2, drill.name


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.parametrize("name", ALONE)
async def test_drill(name: str) -> None:
    judge(DRILLS[name], await run(DRILLS[name], DRILLS[name].brief))


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.parametrize("scene", TOGETHER)
async def test_drills_one_after_the_other(scene: str) -> None:
    drills = TOGETHER[scene]
    async with scene_of(drills[0]) as home:
        home.counts = False
        judge(drills[0], await home.play(drills[0], drills[0].brief))
        before = await usage()
        for drill in drills[1:]:
            judge(drill, await home.play(drill, drill.brief))
        after = await usage()
    more = {name: after[name] - before[name] for name in LEFT_BEHIND}
    # A server that forgets its client keeps that connection, one for each bus.
    assert max(more.values()) <= max(2, len(home.stages)), more
