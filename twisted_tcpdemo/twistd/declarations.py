"""
Options, and a command line made of a table of them.

The record of an option holds all its facts: its name, its word, its default, the
options that it needs, and the keyword that it sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from getopt import GetoptError
from typing import Any, ClassVar, Final, TypeVar

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from twisted_tcpdemo.service.startup import giveUp
from twisted_tcpdemo.values.nearest import nearest

COMMAND_LINE: Final = "command line"


@dataclass(frozen=True, slots=True)
class Option:
    """
    An option of a command line.

    @ivar name: the name, without the dashes.
    @ivar short: one letter with the same meaning, if any.
    @ivar help: the effect in a sentence; C{--help} adds the default.
    @ivar takes: the coercion of its word, see
        L{twisted_tcpdemo.twistd.coercions}; L{None} for a flag, which takes no
        word, and is off by default.
    @ivar default: the word with the same effect as no option at all; L{None} if
        there is no such word.
    @ivar shown: the default in words, where C{default} would explain nothing.
    @ivar isRepeatable: whether it may be given several times.  Its value is the
        list of all its words, empty by default.
    @ivar unless: another option; where it is given, this option has no default.
    @ivar needs: options; one of them has to be on.  Otherwise this option would have
        no effect, and its user would expect one.
    @ivar isOnAtZero: whether C{0} is a value like any other.  Otherwise C{0}
        switches the option off.
    @ivar target: the class or function that takes its value; see
        L{DeclaredOptions.settings}.
    @ivar sets: the keyword of C{target} for its value; empty for an option that is
        read by its name.
    @ivar isInverse: whether a flag switches its keyword off.
    @ivar isInFile: whether it may be in a configuration file.
    """

    name: str
    _: KW_ONLY
    help: str
    takes: Callable[[str], object] | None = None
    default: str | None = None
    shown: str = ""
    short: str = ""
    isRepeatable: bool = False
    unless: str = ""
    needs: Sequence[str] = ()
    isOnAtZero: bool = False
    target: Callable[..., object] | None = None
    sets: str = ""
    isInverse: bool = False
    isInFile: bool = True

    @property
    def about(self) -> str:
        """
        The text for C{--help}.
        """
        default = self.shown or self.default or ("none" if self.takes else "off")
        unless = f", unless --{self.unless}" if self.unless else ""
        return f"{self.help} [default: {default}{unless}]"

    def initial(self) -> object:
        """
        The value without the option.
        """
        if self.isRepeatable:
            return []
        if self.takes is None:
            return False
        return None if self.default is None else self.takes(self.default)


def setting(target: Callable[..., object], *options: Option) -> tuple[Option, ...]:
    """
    Give some options their common target.
    """
    return tuple(replace(option, target=target) for option in options)


class DeclaredOptions(UsageOptions):
    """
    A command line with a table of options.

    A subclass gives the table.  The name of an option is the key of its value, as
    with all of Twisted's options.

    @cvar table: the options.
    @ivar folder: the folder of relative paths, as the process may have another by now;
        empty for the current one.
    """

    folder = ""
    table: ClassVar[Sequence[Option]] = ()

    def __init_subclass__(cls) -> None:
        """
        Add a method for each option, under the name that Twisted looks for.
        """
        super().__init_subclass__()
        for option in cls.table:
            method = _flag(option) if option.takes is None else _parameter(option)
            for name in filter(None, (option.name, option.short)):
                setattr(cls, f"opt_{name.replace('-', '_')}", method)

    def __init__(self) -> None:
        super().__init__()
        self._arguments: list[str] = []
        self._sources: dict[str, str] = {}
        self._words: dict[str, object] = {o.name: o.default for o in self.table if o.default}
        for option in self.table:
            self[option.name] = option.initial()

    def take(self, option: Option, word: str | None) -> None:
        """
        Take a word from the command line.

        @param word: L{None} for a flag.
        @raise UsageError: if it is wrong.
        """
        name = option.name
        self._sources[name] = COMMAND_LINE
        if option.takes is None or word is None:
            self[name] = True
            return
        try:
            value = option.takes(word)
        except ValueError as error:
            raise UsageError(f"--{name} {error}") from None
        if option.isRepeatable:
            self[name].append(value)
        else:
            self.give(name, value, word, COMMAND_LINE)

    def sourceOf(self, name: str) -> str | None:
        """
        Where the value of an option is from; L{None} for the default.
        """
        return self._sources.get(name)

    def give(self, name: str, value: object, word: object, source: str) -> None:
        """
        Set an option.

        @param word: the value in the words of its source.
        """
        self._sources[name] = source
        self[name], self._words[name] = value, word

    def said(self, name: str) -> str:
        """
        An option, as whoever has given it knows it.
        """
        source = self._sources.get(name, COMMAND_LINE)
        return f"--{name}" if source == COMMAND_LINE else f"{source}: {name}"

    def plain(self, option: Option) -> object:
        """
        The value of an option as text, a number, a truth, or a list of texts; L{None} if it
        has none.
        """
        value, word = self[option.name], self._words.get(option.name)
        if value is None or isinstance(value, int | float | list):
            isWord = isinstance(word, str) and not _isNumber(word)
            return word if isWord and isinstance(value, int | float) else value
        return word if isinstance(word, str) else str(value)

    def parseArgs(self, *arguments: str) -> None:
        """
        Allow no arguments but options.

        @raise UsageError: if there are any.
        """
        if arguments:
            raise UsageError(f"unexpected argument {arguments[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the command line, or end the process with one line.

        For a L{UsageError} C{twistd} would print all of its help.

        @raise StartError: if the command line is wrong.
        """
        self._arguments = [] if options is None else [*options]
        try:
            super().parseOptions(options)
        except UsageError as error:
            giveUp(f"{error}{self._meant(error.__context__)}")

    def _meant(self, cause: object) -> str:
        """
        The end of a line about an unknown option: the one that is most like it.
        """
        if not isinstance(cause, GetoptError) or "not recognized" not in cause.msg:
            return ""
        return nearest(f"--{cause.opt}", [f"--{option.name}" for option in self.table])

    def again(self: _D) -> _D:
        """
        Read the command line once more, and the files that it names.

        @raise UsageError: if anything is wrong by now.
        """
        fresh = type(self)()
        fresh.folder = self.folder
        UsageOptions.parseOptions(fresh, self._arguments)
        return fresh

    def postOptions(self) -> None:
        """
        Apply and check the relations between options: C{unless} and C{needs}.

        @raise UsageError: if an option would have no effect.
        """
        for option in self.table:
            if option.unless in self._sources and option.name not in self._sources:
                self[option.name] = None
        for option in self.table:
            if option.name in self._sources and self._isOn(option):
                self._checkNeeds(option)

    def _checkNeeds(self, option: Option) -> None:
        needed = self._named(option.needs)
        if needed and not any(map(self._isOn, needed)):
            others = " or ".join(f"--{other.name}" for other in needed)
            raise UsageError(f"{self.said(option.name)} goes with {others}")

    def _named(self, names: Iterable[str]) -> list[Option]:
        options = {option.name: option for option in self.table}
        return [options[name] for name in names]

    def _isOn(self, option: Option) -> bool:
        """
        Whether an option has an effect.
        """
        value = self[option.name]
        return value is not None if option.isOnAtZero else bool(value)

    def settings(self, target: Callable[..., object]) -> dict[str, Any]:
        """
        The values of the options with one target.

        @param target: the class or function to call.
        @return: the keywords of the call.
        """
        return {
            option.sets: not self[option.name] if option.isInverse else self[option.name]
            for option in self.table
            if option.target is target
        }


_D = TypeVar("_D", bound=DeclaredOptions)


def _isNumber(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parameter(option: Option) -> Callable[[DeclaredOptions, str], None]:
    def take(self: DeclaredOptions, word: str) -> None:
        self.take(option, word)

    take.__doc__ = option.about
    return take


def _flag(option: Option) -> Callable[[DeclaredOptions], None]:
    def take(self: DeclaredOptions) -> None:
        self.take(option, None)

    take.__doc__ = option.about
    return take
