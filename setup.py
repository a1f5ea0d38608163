"""
What setup.cfg cannot say: the text for a package index, and what else belongs to the source.
"""

import re
from glob import glob
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


def described():
    """
    The text of README.md, with the paths of files of the source archive in place of links,
    which would lead nowhere on the page of an index.
    """
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!https?:)([^)#]+)[^)]*\)", _named, text)


def _named(link):
    name, path = link[1], link[2]
    return f"`{path}`" if name.strip("`") == path else f"{name} (`{path}`)"


class Archive(sdist):
    """
    A source archive with the tests and the documentation: they pass where it is unpacked.
    """

    def make_distribution(self):
        """
        Add them, and make it.
        """
        for folder in ("docs", "tests", ".ci"):
            self.filelist.graft(folder)
        self.filelist.extend([".ruff.toml", ".pre-commit-config.yaml"])
        self.filelist.global_exclude("*.py[cod]")
        self.filelist.sort()
        self.filelist.remove_duplicates()
        super().make_distribution()


setup(
    long_description=described(),
    # Ours, and those of what is from others.
    license_files=["LICENSE", *sorted(glob("twisted_tcpdemo/**/LICENSE*", recursive=True))],
    cmdclass={"sdist": Archive},
)
