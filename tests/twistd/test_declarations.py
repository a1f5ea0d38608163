"""
A command line made from a table of options.
"""

from __future__ import annotations

import pytest
from twisted.python.usage import UsageError

from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd.coercions import wholeNumber
from twisted_tcpdemo.twistd.declarations import DeclaredOptions, Option, setting


def kettle(*, degrees: int, lid: bool) -> None:
    """
    A target of options.
    """


class Kitchen(DeclaredOptions):
    """
    A command line with an option of each kind.
    """

    table = (
        *setting(
            kettle,
            Option(
                "heat-to",
                short="t",
                sets="degrees",
                takes=wholeNumber(0, 100),
                default="95",
                unless="recipe",
                isOnAtZero=True,
                help="Heat water.",
            ),
            Option("open", sets="lid", isInverse=True, help="Leave the lid off."),
        ),
        Option("tea", takes=str, isRepeatable=True, help="Make tea.", needs=("heat-to", "milk")),
        Option("recipe", takes=str, help="Follow a recipe.", shown="by heart"),
        Option("milk", takes=wholeNumber(), default="0", help="Add drops of milk."),
        Option("stir", help="Stir it.", needs=("milk",)),
    )


def parsed(*arguments: str) -> Kitchen:
    """
    Parse a command line.
    """
    kitchen = Kitchen()
    kitchen.parseOptions(arguments)
    return kitchen


def test_defaults() -> None:
    """
    An option that is not given has its default; a flag is off, a repeatable option
    is an empty list.
    """
    values = {"heat-to": 95, "open": False, "tea": [], "recipe": None, "milk": 0, "stir": False}
    assert dict(Kitchen()) == dict(parsed()) == values


def test_given() -> None:
    """
    A given value replaces the default; a second one replaces the first, or is added
    where the option is repeatable.
    """
    kitchen = parsed("--heat-to=80", "-t", "70", "--tea", "green", "--tea", "black", "--open")
    assert (kitchen["heat-to"], kitchen["tea"], kitchen["open"]) == (70, ["green", "black"], True)
    assert Kitchen()["tea"] == []


@pytest.mark.parametrize(
    ("arguments", "degrees", "lid"), [([], 95, True), (["--open", "-t", "0"], 0, False)]
)
def test_settings(arguments: list[str], degrees: int, lid: bool) -> None:
    """
    A target gets the options that set it, under its own keywords.
    """
    kitchen = parsed(*arguments)
    assert kitchen.settings(kettle) == {"degrees": degrees, "lid": lid}
    assert kitchen.settings(test_settings) == {}


def test_unless() -> None:
    """
    A default gives way to the other option; a given value does not.
    """
    assert parsed("--recipe", "x")["heat-to"] is None
    assert parsed("--recipe", "x", "--heat-to", "95")["heat-to"] == 95


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tea", "x"],
        ["--tea", "x", "--recipe", "y", "--heat-to", "0"],
        ["--tea", "x", "--recipe", "y", "--milk", "1"],
        ["--stir", "--milk", "1"],
    ],
)
def test_needs(arguments: list[str]) -> None:
    """
    One of the options that another needs is enough, even by its default.
    """
    assert all(parsed(*arguments)[name] for name in ("tea", "stir") if f"--{name}" in arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tea", "x", "--recipe", "y"], "--tea goes with --heat-to or --milk"),
        (["--stir"], "--stir goes with --milk"),
        (["--stir", "--milk", "0"], "--stir goes with --milk"),
        (["--heat-to", "x"], "--heat-to must be a whole number, 0 to 100, not 'x'"),
        (["-t", "101"], "--heat-to must be a whole number, 0 to 100, not '101'"),
        (["--open=yes"], "option --open must not have an argument"),
        (["--tea"], "option --tea requires argument"),
        (["--coffee"], "option --coffee not recognized"),
        (["--recip", "x", "--mlik=3"], "option --mlik not recognized; the nearest is --milk"),
        (["-x"], "option -x not recognized"),
        (["coffee"], "unexpected argument 'coffee'"),
    ],
)
def test_refused(arguments: list[str], message: str) -> None:
    """
    A malformed option ends the process with one line that names it.
    """
    with pytest.raises(StartError) as refused:
        parsed(*arguments)
    assert (str(refused.value), refused.value.code) == (f"tcpdemo: {message}", 1)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("heat-to", "Heat water. [default: 95, unless --recipe]"),
        ("open", "Leave the lid off. [default: off]"),
        ("tea", "Make tea. [default: none]"),
        ("recipe", "Follow a recipe. [default: by heart]"),
        ("milk", "Add drops of milk. [default: 0]"),
    ],
)
def test_help(name: str, about: str) -> None:
    """
    --help shows the purpose and the default of each option.
    """
    [option] = [option for option in Kitchen.table if option.name == name]
    assert option.about == about
    assert about in " ".join(str(Kitchen()).split())


def test_short() -> None:
    """
    --help shows the letter beside the name.
    """
    assert "-t, --heat-to=" in str(Kitchen())


def test_sources() -> None:
    """
    Each value has a source, by whose name its user knows it, and a plain form.
    """
    kitchen = parsed("--milk", "3", "--tea", "green")
    kitchen.give("recipe", "slow", "slow", "book")
    assert [kitchen.sourceOf(n) for n in ("milk", "recipe", "open")] == [
        "command line",
        "book",
        None,
    ]
    assert [kitchen.said(n) for n in ("milk", "recipe", "open")] == [
        "--milk",
        "book: recipe",
        "--open",
    ]
    plain = {option.name: kitchen.plain(option) for option in Kitchen.table}
    assert plain == {
        "heat-to": 95,
        "open": False,
        "tea": ["green"],
        "recipe": "slow",
        "milk": 3,
        "stir": False,
    }


def test_again() -> None:
    """
    The command line can be read again, and what is wrong by then is raised.
    """
    kitchen = parsed("--milk", "3", "--open")
    assert dict(kitchen.again()) == dict(kitchen) and kitchen.again() is not kitchen
    kitchen._arguments.append("more")
    with pytest.raises(UsageError, match="unexpected argument 'more'"):
        kitchen.again()
