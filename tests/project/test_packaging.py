"""
The package, built and installed: the plugin is found from any folder, and an
uninstall leaves nothing behind.

Both ways of installing are tried in one fresh environment, with the real pip.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest

import twisted_tcpdemo
from tests.support.places import PROJECT
from tests.support.processes import portOf, running

pytestmark = [pytest.mark.packaging, pytest.mark.deadline(240)]

# Only the installed package counts here; a build from a copy is not measured.
ALONE = {
    "PYTHONPATH": "",
    "COVERAGE_PROCESS_START": "",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
}


async def run(folder: Path, *command: str | Path) -> str:
    """
    Run a command that must succeed.

    @return: its output.
    """
    async with running(command, folder, **ALONE) as child:
        status = await child.whenEnded()
        assert status == 0, f"{command}: {status}\n{child.out}\n{child.err}"
        return child.out + child.err


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """
    A copy of the project, as a fresh clone would be.
    """

    def unwanted(folder: str, names: Sequence[str]) -> list[str]:
        dirt = {"build", "dist", "__pycache__", "dropin.cache"}
        return [n for n in names if n in dirt or n.startswith(".") or n.endswith(".egg-info")]

    return Path(shutil.copytree(PROJECT, tmp_path / "source", ignore=unwanted))


class Environment:
    """
    A fresh virtual environment.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "bin" / "python"
        self._elsewhere = folder.parent / "elsewhere"
        self._elsewhere.mkdir()

    async def make(self) -> None:
        """
        Make the environment with the package's requirements, or skip the test.
        """
        await run(self._elsewhere, sys.executable, "-m", "venv", self._folder)
        command = [self._python, "-m", "pip", "install", "-q", "Twisted>=26.10", "zope.interface"]
        async with running(command, self._elsewhere, **ALONE) as child:
            if await child.whenEnded():
                pytest.skip(f"there is no package index here: {child.err[-300:]}")
        await self.help()

    async def pip(self, *arguments: str | Path) -> str:
        """
        Run pip.
        """
        return await run(self._elsewhere, self._python, "-m", "pip", *arguments)

    async def archive(self, source: Path, folder: Path) -> Path:
        """
        Build the source archive, and unpack it.
        """
        await self.pip("install", "-q", "setuptools>=77")
        build = f"from setuptools.build_meta import build_sdist as b; b({str(folder)!r})"
        await run(source, self._python, "-c", build)
        [made] = folder.glob("twisted_tcpdemo-*.tar.gz")
        shutil.unpack_archive(made, folder, filter="data")
        [found] = (path for path in folder.iterdir() if path.is_dir())
        return found

    async def help(self) -> str:
        """
        The help of twistd's plugin, run from a folder outside the project.
        """
        return await run(self._elsewhere, self._folder / "bin" / "twistd", "--help")

    async def serve(self) -> None:
        """
        Run the plugin from that folder, and stop it.
        """
        for program in ([self._folder / "bin" / "twistd", "-n", "--pidfile="], self._twist()):
            command = [*program, "tcpdemo", "--port", "0", "--interface", "127.0.0.1"]
            async with running(command, self._elsewhere, **ALONE) as child:
                await portOf(child)
                child.signal(signal.SIGTERM)
                assert await child.whenEnded() == -signal.SIGTERM
                assert "Traceback" not in child.out + child.err

    def _twist(self) -> list[str | Path]:
        return [self._python, "-m", "twisted", "--log-format", "text"]

    def files(self) -> set[str]:
        """
        All files, except those that Python and Twisted make when they run.
        """
        found = set()
        for folder, _, names in os.walk(self._folder):
            if "__pycache__" not in folder:
                found |= {os.path.join(folder, n) for n in names if n != "dropin.cache"}
        return found


async def test_wheel(source: Path, tmp_path: Path) -> None:
    """
    The wheel has the package, its type marker, the plugin and the manual page, no tests,
    and no file that would replace one of Twisted's.
    """
    await make(source, tmp_path)
    [wheel] = (tmp_path / "wheels").glob("twisted_tcpdemo-*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {name for name in names if name.startswith("twisted_tcpdemo/")}
    rest = {name for name in names - package if ".dist-info/" not in name}
    there = {str(path.relative_to(source)) for path in (source / "twisted_tcpdemo").rglob("*.py")}
    assert package >= there | {"twisted_tcpdemo/py.typed"}
    page = {name for name in rest if name.endswith(".data/data/share/man/man1/tcpdemo.1")}
    assert len(page) == 1
    assert rest - page == {"twisted/plugins/tcpdemo_plugin.py"}
    assert any(name.endswith("LICENSE") for name in names)


async def make(source: Path, folder: Path) -> None:
    """
    Build the wheel, or skip the test.
    """
    # Before 23.1, pip built in another way unless it was told otherwise or found wheel.
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--use-pep517", "--no-deps"]
    command += ["-w", str(folder / "wheels")]
    async with running([*command, str(source)], folder, **ALONE) as child:
        if await child.whenEnded():
            text = child.out + child.err
            assert "setuptools" in text and "No matching distribution" in text, text
            pytest.skip("there is no package index here")


async def test_archive(source: Path, tmp_path: Path) -> None:
    """
    The source archive has all that a checkout has, and its own tests are found and pass
    where it is unpacked.
    """
    environment = Environment(tmp_path / "environment")
    await environment.make()
    (tmp_path / "archive").mkdir()
    found = await environment.archive(source, tmp_path / "archive")
    there = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    there = {path for path in there if not path.match("*.egg-info/*") and path.suffix != ".pyc"}
    assert [str(path) for path in there if not (found / path).is_file()] == []
    pytests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    await run(found, *pytests, "--collect-only", "tests")
    report = await run(found, *pytests, "-x", "tests/values", "tests/twistd")
    assert " passed" in report


async def test_license(source: Path, tmp_path: Path) -> None:
    """
    The wheel has the licence, and that of everything that comes from others.
    """
    vendored = source / "twisted_tcpdemo" / "status" / "other"
    vendored.mkdir()
    (vendored / "LICENSE").write_text("another one")
    await make(source, tmp_path)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    with ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        texts = {archive.read(name) for name in found if ".dist-info/" in name}
    assert b"another one" in texts and len(texts) >= 2


def test_version() -> None:
    """
    The package tells the version that is installed.
    """
    assert twisted_tcpdemo.__version__ == version("twisted-tcpdemo")


async def test_description(source: Path) -> None:
    """
    The text for a package index is that of the README, and no link of it leads to a place
    that an index does not have.
    """
    command = "import setup; print(setup.described())"
    text = await run(
        source, sys.executable, "-c", f"import sys; sys.argv = ['', '--version']; {command}"
    )
    assert "# twisted-tcpdemo" in text and "docs/server.md" in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert all(link.startswith("https:") for link in links), links


async def test_install(source: Path, tmp_path: Path) -> None:
    """
    Installed from the wheel or editable, the plugin runs under twistd and twist
    from any folder; an uninstall leaves nothing behind and breaks nothing.
    """
    await make(source, tmp_path)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    environment = Environment(tmp_path / "environment")
    await environment.make()
    before = environment.files()
    assert "tcpdemo" not in await environment.help()
    # By itself, pip before 23.1 does not clean up an editable install.
    for what in ([wheel], ["--use-pep517", "-e", source]):
        await environment.pip("install", "-q", *what)
        assert "No broken requirements" in await environment.pip("check")
        assert "tcpdemo" in await environment.help()
        await environment.serve()
        await environment.pip("uninstall", "-q", "-y", "twisted-tcpdemo")
        assert environment.files() == before
        help = await environment.help()
        assert "tcpdemo" not in help and "Traceback" not in help
