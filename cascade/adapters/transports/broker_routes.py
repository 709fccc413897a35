"""Which subscriptions a topic reaches: plain filters, wildcards, shared groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

SHARED = "$share/"
Member = TypeVar("Member")


class BadFilter(ValueError):
    """A filter that MQTT does not allow."""


class Share(Generic[Member]):
    """A shared subscription: each message goes to one member, in turns."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._turn = 0

    def in_turn(self) -> list[Member]:
        """All members, beginning with whose turn it is."""
        members = list(self.members.values())
        self._turn += 1
        at = self._turn % len(members) if members else 0
        return members[at:] + members[:at]


class _Node(Generic[Member]):
    __slots__ = ("children", "plain", "shares")

    def __init__(self) -> None:
        self.children: dict[str, _Node[Member]] = {}
        self.plain: dict[str, Member] = {}
        self.shares: dict[str, Share[Member]] = {}

    @property
    def empty(self) -> bool:
        return not (self.children or self.plain or self.shares)


def split_filter(name: str) -> tuple[str, str]:
    """The group ("" for none) and the filter proper. Raises `BadFilter`."""
    group = ""
    if name.startswith(SHARED):
        _, group, name = [*name.split("/", 2), "", ""][:3]
        if not group or "+" in group or "#" in group:
            raise BadFilter("a shared subscription needs a plain group name")
    levels = name.split("/")
    wild = any(("+" in level or "#" in level) and len(level) > 1 for level in levels)
    if not name or wild or "#" in levels[:-1]:
        raise BadFilter("a wildcard must be a whole level, and # the last one")
    return group, name


def matches(name: str, topic: str) -> bool:
    """Whether a filter (without a group) takes a topic."""
    wanted, levels = name.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


class Routes(Generic[Member]):
    """A tree of filters, level by level. What a topic reaches is remembered until a subscription changes."""

    MOST_REMEMBERED = 1024

    def __init__(self) -> None:
        self._root: _Node[Member] = _Node()
        self._remembered: dict[str, tuple[list[Member], list[Share[Member]]]] = {}

    def add(self, client_id: str, name: str, member: Member) -> None:
        group, name = split_filter(name)
        node = self._root
        for level in name.split("/"):
            node = node.children.setdefault(level, _Node())
        if group:
            node.shares.setdefault(group, Share()).members[client_id] = member
        else:
            node.plain[client_id] = member
        self._remembered.clear()

    def remove(self, client_id: str, name: str) -> None:
        group, name = split_filter(name)
        path = [self._root]
        for level in name.split("/"):
            if level not in path[-1].children:
                return
            path.append(path[-1].children[level])
        self._leave(path[-1], client_id, group)
        for parent, level in reversed(list(zip(path, name.split("/"), strict=False))):
            if parent.children[level].empty:
                del parent.children[level]
        self._remembered.clear()

    def _leave(self, node: _Node[Member], client_id: str, group: str) -> None:
        if not group:
            node.plain.pop(client_id, None)
        elif share := node.shares.get(group):
            share.members.pop(client_id, None)
            if not share.members:
                del node.shares[group]

    def share(self, name: str) -> Share[Member] | None:
        """The group that a shared filter names, while it has members."""
        group, name = split_filter(name)
        node: _Node[Member] | None = self._root
        for level in name.split("/"):
            node = node.children.get(level) if node is not None else None
        return node.shares.get(group) if node is not None else None

    def reached(self, topic: str) -> tuple[list[Member], list[Share[Member]]]:
        found = self._remembered.get(topic)
        if found is None:
            if len(self._remembered) >= self.MOST_REMEMBERED:
                self._remembered.clear()
            nodes = list(self._walk(self._root, topic.split("/"), 0))
            found = self._remembered[topic] = (
                [member for node in nodes for member in node.plain.values()],
                [share for node in nodes for share in node.shares.values()],
            )
        return found

    def _walk(self, node: _Node[Member], levels: list[str], at: int) -> Iterator[_Node[Member]]:
        wild = at > 0 or not levels[0].startswith("$")
        if wild and "#" in node.children:
            yield node.children["#"]
        if at == len(levels):
            yield node
            return
        for level in (levels[at], "+") if wild else (levels[at],):
            if level in node.children:
                yield from self._walk(node.children[level], levels, at + 1)
