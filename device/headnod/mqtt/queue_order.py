"""In which order what waits goes out: by age, each topic in a lane of its own.

Alone because a topic may be held back while others go on, and because a lane is
part in memory, part on disk, and must look as if it were all of a piece.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from headnod.mqtt.queue_file import Item

_BEFORE_ALL = -(1 << 62)
"""A number before that of every row."""


class _Lane:
    """Items of one topic that are not on their way: those read ahead, then those on disk, then the fresh ones."""

    def __init__(self) -> None:
        self.ahead: deque[Item] = deque()
        self.cursor, self.stored = 0, False
        self.fresh: deque[Item] = deque()

    def ahead_too(self, items: Iterable[Item]) -> None:
        self.ahead = deque(sorted([*self.ahead, *items]))


class Lanes:
    """Lanes by topic; not for several threads at once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lanes: dict[str, _Lane] = {}

    @property
    def stored(self) -> bool:
        """Part of a lane is on disk and was not read yet."""
        return any(lane.stored for lane in self._lanes.values())

    @property
    def ahead(self) -> Iterator[Item]:
        """What was read from disk, or came back, and is not on its way."""
        return (item for lane in self._lanes.values() for item in lane.ahead)

    def add(self, item: Item) -> None:
        """A new one, younger than all there are."""
        self._lanes.setdefault(item.topic, _Lane()).fresh.append(item)

    def give_back(self, item: Item) -> None:
        """One that was taken is to be taken again."""
        self._lanes[item.topic].ahead_too([item])

    def take(self, held: Collection[str]) -> Item | None:
        """The oldest of any topic but those that are held back."""
        lanes = [lane for topic, lane in self._lanes.items() if topic not in held]
        first = [lane for lane in lanes if lane.ahead or lane.fresh]
        if not first:
            return None
        lane = min(first, key=lambda lane: (lane.ahead or lane.fresh)[0].number)
        item = (lane.ahead or lane.fresh).popleft()
        lane.cursor = max(lane.cursor, item.number)
        return item

    def unread(self, held: Collection[str]) -> tuple[str, int] | None:
        """A topic whose oldest item is on disk, and the number after which to read; None where there is none."""
        for topic, lane in self._lanes.items():
            # Items read ahead are not beyond the cursor; one that came back before the file was opened is.
            if topic not in held and lane.stored and (not lane.ahead or lane.ahead[0].number > lane.cursor):
                return topic, lane.cursor
        return None

    def read(self, topic: str, rows: Sequence[Item], *, known: Collection[int], more: bool) -> None:
        """These come next from disk, and perhaps there are more; those known are in memory already."""
        lane = self._lanes[topic]
        lane.stored, lane.cursor = more, rows[-1].number if rows else lane.cursor
        ahead = {item.number for item in lane.ahead}
        lane.ahead_too(item for item in rows if item.number not in known and item.number not in ahead)

    def saved(self, items: Sequence[Item], gone: Collection[int]) -> None:
        """All that is as old as these is on disk now, and some of what was there is gone."""
        for lane in self._lanes.values():
            while items and lane.fresh and lane.fresh[0].number <= items[-1].number:
                lane.fresh.popleft()
                lane.stored = True
            lane.ahead = deque(item for item in lane.ahead if item.number not in gone)

    def forget(self, item: Item) -> None:
        """It is lost, the oldest of its topic that is in memory alone."""
        lane = self._lanes[item.topic]
        lane.ahead = deque(each for each in lane.ahead if each.number != item.number)
        if lane.fresh and lane.fresh[0].number == item.number:
            lane.fresh.popleft()

    def found(self, topics: Iterable[str]) -> None:
        """These are on disk, to be read from the beginning."""
        for topic in topics:
            lane = self._lanes.setdefault(topic, _Lane())
            lane.cursor, lane.stored = _BEFORE_ALL, True

    def cut_off(self) -> None:
        """Nothing is on disk any more."""
        for lane in self._lanes.values():
            lane.stored = False
