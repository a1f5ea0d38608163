"""
Programs, observers and policies that do the worst at the worst moment, over every
transport: accounts, limit and drain hold.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.hygiene import LoggedErrors
from tests.support.world import (
    ACTIONS,
    ASKED,
    EXPECTED,
    GLOBAL,
    HOOKS,
    IDLE,
    KINDS,
    OBSERVED,
    UPGRADES,
    Person,
    World,
    worldOf,
)

HOLDING = {"readConnectionLost", "connectionLost", "logPrefix"}
"""Hooks in which a protocol of any transport may call its own connectionLost."""


def applies(place: str, action: str, kind: str) -> bool:
    """
    Whether a transport knows of what a program does.  One in memory has no protocol, which
    could be another one; and no end of its own: there the protocol's is the only sign.
    """
    if kind != "memory":
        return True
    return action not in UPGRADES and (action != "lose itself" or place in HOLDING)


def lived(
    world: World, script: dict[str, str], again: Callable[[], object] = lambda: None
) -> list[str]:
    """
    Let a client with a script, and one without, live a whole life; and then another
    one, until a drain is over.

    @param again: is called when that drain has begun.
    @return: what was wrong at any moment.
    """
    found = []
    for person in (world.connect(script), world.connect()):
        found += world.violations()
        if person is not None:
            world.send(person)
            found += world.violations()
    world.wait(IDLE + 1 if "timeoutConnection" in script else 1)
    found += world.violations()
    if "drainStarted" in script:
        world.drain(5)
        found += world.violations()
    if world.people:
        world.finish(world.people[0])
        found += world.violations()
    if world.people:
        world.leave(world.people[0])
        found += world.violations()
    world.connect()
    found += world.violations()
    world.drain(5)
    again()
    return found + world.end()


@contextmanager
def forgiving(logged: LoggedErrors) -> Generator[None]:
    """
    Take what scripts have raised out of the log; where a test fails, all else, too.
    """
    try:
        yield
    except BaseException:
        logged.take(BaseException)
        raise
    logged.take(*EXPECTED)


def pairs(places: tuple[str, ...], actions: Iterable[str]) -> list[tuple[str, str, str]]:
    """
    Each place, each action and each transport.
    """
    return [pair for pair in product(places, actions, KINDS) if applies(*pair)]


@pytest.mark.parametrize(("hook", "action", "kind"), pairs(HOOKS, ACTIONS))
def test_hooks(hook: str, action: str, kind: str, loggedErrors: LoggedErrors) -> None:
    """
    Whatever a hook does, no connection, slot or drain is lost.
    """
    # Room enough for a protocol to take a second slot, if it can.
    limit = 4 if action in UPGRADES else 2
    with forgiving(loggedErrors), worldOf(kind, maxConnections=limit) as world:
        assert lived(world, {hook: action}) == []


@pytest.mark.parametrize(("event", "action", "kind"), pairs(OBSERVED, GLOBAL))
def test_observers(event: str, action: str, kind: str, loggedErrors: LoggedErrors) -> None:
    """
    Whatever an observer does, no connection, slot or drain is lost.
    """
    with forgiving(loggedErrors), worldOf(kind, maxConnections=1) as world:

        def arm() -> None:
            world.observer.script = {event: action}

        arm()
        assert lived(world, {}, arm) == []


@pytest.mark.parametrize(("call", "action", "kind"), pairs(ASKED, GLOBAL))
def test_policies(call: str, action: str, kind: str, loggedErrors: LoggedErrors) -> None:
    """
    Whatever a policy does, no connection, slot or drain is lost.
    """
    with forgiving(loggedErrors), worldOf(kind, maxConnections=2) as world:

        def arm() -> None:
            world.policy.script = {call: action}

        arm()
        assert lived(world, {}, arm) == []


def test_ownEndInMemory() -> None:
    """
    In a unit test, whose transport has no end of its own, a call of connectionLost is the
    end of the connection, whoever calls it.
    """
    with worldOf("memory", maxConnections=1) as world:
        world.connect({"dataReceived": "lose itself"})
        world.send(world.people[0])
        assert (world.factory.connectionCount, world.factory.closedCount) == (0, 1)
        assert world.factory.conservation() == []


def test_arrivalWhileDeciding() -> None:
    """
    A client that comes in while a policy decides about another does not exceed the limit.
    """
    with worldOf("memory", maxConnections=1) as world:
        world.policy.script = {"decide": "let another in"}
        world.connect()
        assert world.violations() == []


def test_heldClientWhoseProgramExits(loggedErrors: LoggedErrors) -> None:
    """
    A client behind a proxy, held until the port stops, whose program exits, is closed.
    """
    with forgiving(loggedErrors), worldOf("proxy") as world:
        world.connect({"connectionMade": "suspend"})
        world.connect()
        world.connect({"connectionMade": "exit"})
        assert world.end() == []


def test_heldClientsWhoseObserverExits(loggedErrors: LoggedErrors) -> None:
    """
    An observer that exits when the first client behind a proxy is refused leaves no other
    open, when a port stops.
    """
    with forgiving(loggedErrors), worldOf("proxy") as world:
        world.connect()
        world.suspend()
        for _ in range(3):
            world.connect()
        world.factory.maxConnections = 0
        world.observer.script = {"connectionRefused": "exit"}
        assert world.end() == []


def scripts(places: Iterable[str], actions: Iterable[str]) -> st.SearchStrategy[dict[str, str]]:
    """
    Any script.
    """
    return st.fixed_dictionaries({}, optional=dict.fromkeys(places, st.sampled_from([*actions])))


class Machine(RuleBasedStateMachine):
    """
    Clients that come and go, in any order, with programs, an observer and a policy that
    follow scripts.
    """

    world: World
    ends: ExitStack

    @initialize(
        kind=st.sampled_from(KINDS),
        limit=st.none() | st.integers(0, 3),
        overflow=st.sampled_from(["refuse", "reset", "wait"]),
    )
    def begin(self, kind: str, limit: int | None, overflow: str) -> None:
        """
        Listen.
        """
        self.ends = ExitStack()
        self.world = self.ends.enter_context(worldOf(kind, maxConnections=limit, overflow=overflow))

    def person(self, data: st.DataObject) -> Person | None:
        """
        Any client that is there.
        """
        people = self.world.people
        return data.draw(st.sampled_from(people)) if people else None

    @rule(script=scripts(HOOKS, ACTIONS))
    def connect(self, script: dict[str, str]) -> None:
        """
        A client comes.
        """
        kind = self.world.kind
        self.world.connect({h: action for h, action in script.items() if applies(h, action, kind)})

    @rule(data=st.data(), size=st.sampled_from([1, 1000, 100_000]))
    def send(self, data: st.DataObject, size: int) -> None:
        """
        A client sends something.
        """
        if person := self.person(data):
            self.world.send(person, bytes(size))

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """
        A client sends a FIN.
        """
        if person := self.person(data):
            self.world.finish(person)

    @rule(data=st.data(), abruptly=st.booleans())
    def leave(self, data: st.DataObject, abruptly: bool) -> None:
        """
        A client goes.
        """
        if person := self.person(data):
            self.world.leave(person, abruptly)

    @rule(seconds=st.sampled_from([0.1, 3, IDLE + 1, 400]))
    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.world.wait(seconds)

    @rule(limit=st.none() | st.integers(0, 3))
    def limit(self, limit: int | None) -> None:
        """
        The limit changes.
        """
        self.world.factory.maxConnections = limit
        self.world.settle()

    @rule(observed=scripts(OBSERVED, GLOBAL), asked=scripts(ASKED, GLOBAL))
    def conspire(self, observed: dict[str, str], asked: dict[str, str]) -> None:
        """
        The observer and the policy get other scripts.
        """
        self.world.observer.script, self.world.policy.script = observed, asked

    @rule(deadline=st.sampled_from([0, 2, 20]))
    def drain(self, deadline: float) -> None:
        """
        The server drains.
        """
        self.world.drain(deadline)
        self.world.settle()

    @rule()
    def listenAgain(self) -> None:
        """
        The server listens, and accepts.
        """
        self.world.listen()
        if self.world.factory.listening:
            self.world.factory.resume()
        self.world.settle()

    @invariant()
    def adds(self) -> None:
        """
        The accounts add up.
        """
        if hasattr(self, "world"):
            assert self.world.violations() == []

    def teardown(self) -> None:
        """
        When everybody has gone, nothing is left, and every drain has fired.
        """
        if hasattr(self, "world"):
            with self.ends:
                assert self.world.end() == []


def bounded(examples: int, steps: int) -> settings:
    """
    Few examples; with C{--hypothesis-profile=long}, those of that profile.
    """
    chosen = settings()
    if chosen.max_examples > 100:
        return chosen
    return settings(chosen, max_examples=examples, stateful_step_count=steps, deadline=None)


def test_anyOrder(loggedErrors: LoggedErrors) -> None:
    """
    In any order of whatever clients, programs, observers, policies and operators do, the
    accounts add up and every drain ends.
    """
    with forgiving(loggedErrors):
        run_state_machine_as_test(Machine, settings=bounded(80, 30))  # type: ignore[no-untyped-call]
