"""
Configuration files: TOML, with the names of the options as keys.

A value is checked by the coercion of its option, as a word of the command line is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Final

from twisted.python.usage import UsageError

from twisted_tcpdemo.twistd.declarations import DeclaredOptions, Option
from twisted_tcpdemo.values.files import contentOf
from twisted_tcpdemo.values.nearest import nearest

LARGEST: Final = 2**20
"""Bytes of a file."""


class ConfigurationError(ValueError):
    """
    A file cannot be used; the text goes on after its name.
    """


def read(path: str) -> dict[str, object]:
    """
    The keys and values of a file.

    @raise ConfigurationError: if there are none.
    """
    try:
        content, _ = contentOf(path, LARGEST)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if len(content) > LARGEST:
        raise ConfigurationError(f"it has more than {LARGEST} bytes")
    try:
        return _loads(content.decode())
    except ConfigurationError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"it is not UTF-8, at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is no TOML: {error}") from None


def _loads(text: str) -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            needed = "Python before 3.11 needs tomli: pip install 'twisted-tcpdemo[config]'"
            raise ConfigurationError(needed) from None
    return tomllib.loads(text)


def unknown(key: str, known: Iterable[str]) -> str:
    """
    What to say of an unknown key.
    """
    near = nearest(key.lower().replace("_", "-"), known)
    return f"unknown key {key!r}" + (near or "; the keys are the names of the options")


def fill(options: DeclaredOptions, path: str) -> None:
    """
    Give options what the command line has not, and a file has.

    @raise UsageError: if anything in the file is wrong.
    """
    known = {option.name: option for option in options.table if option.isInFile}
    try:
        settings = read(path)
    except ConfigurationError as error:
        raise UsageError(f"{path}: {error}") from None
    for name, value in settings.items():
        if name not in known:
            raise UsageError(f"{path}: {unknown(name, known)}")
        try:
            taken = valueOf(known[name], value)
        except ValueError as error:
            raise UsageError(f"{path}: {name} {error}") from None
        if options.sourceOf(name) is None:
            options.give(name, taken, value, path)


def held(options: DeclaredOptions) -> list[str]:
    """
    What holds, and where each value is from, in the lines of a file.  The defaults are
    comments: an option may need another, default or not.
    """
    lines = []
    for option in options.table:
        value, source = options.plain(option), options.sourceOf(option.name)
        line = option.name if value is None else assigned(option.name, value)
        if source is None:
            line = f"# {line}"
            source = f"default: {option.shown}" if option.shown else "default"
        if option.isInFile:
            lines.append(f"{line:<39} # {source}")
    return lines


def valueOf(option: Option, value: object) -> object:
    """
    The value of an option.

    @param value: that of the file.
    @raise ValueError: if it is wrong.
    """
    if option.takes is None:
        return flagOf(value)
    if not option.isRepeatable:
        return wordOf(option.takes, value)
    return [wordOf(option.takes, each) for each in (value if isinstance(value, list) else [value])]


def flagOf(value: object) -> bool:
    """
    The value of a flag.

    @raise ValueError: if it is none.
    """
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_shown(value)}")
    return value


def wordOf(takes: Callable[[str], object], value: object) -> object:
    """
    The value of an option that takes a word.

    @param takes: the coercion.
    @param value: text, or for an option that is a number, a number.
    @raise ValueError: if it is anything else, or if the coercion does not take it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be text or a number, not {_shown(value)}")
    word = value if isinstance(value, str) else _digits(value)
    taken = takes(word)
    if not isinstance(value, str) and not isinstance(taken, int | float):
        raise ValueError(f"must be text, not {_shown(value)}")
    return taken


def _digits(value: float) -> str:
    """
    A number as the command line has it.
    """
    if isinstance(value, float) and isfinite(value) and value == int(value):
        return str(int(value))  # 5.0 is a whole number, 1e9 too
    try:
        return str(value)
    except ValueError:  # thousands of digits
        raise ValueError("is too long a number") from None


def _shown(value: object) -> str:
    """
    A value in the words of TOML.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(value) if isinstance(value, str) else str(value)


def assigned(name: str, value: object) -> str:
    """
    A line of a file.

    @param value: text, a number, a truth, or a list of texts.
    """
    return f"{name} = {_literal(value)}"


def _literal(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str):
        return f'"{"".join(map(_character, value))}"'
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return str(value).lower()


def _character(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    # A surrogate stands for a byte that is no text, which TOML cannot have.
    isPlain = character.isprintable() or character == " "
    return character if isPlain else f"\\u{ord(character):04x}"
