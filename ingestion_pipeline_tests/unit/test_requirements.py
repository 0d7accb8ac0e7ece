"""The lock: it holds what the package declares, with digests, and names no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKED = {
    "deploy": ("ogc", "s3"),
    "dev": ("ogc", "s3", "celery", "dev"),
    "image": ("ogc", "celery", "s3", "aws", "k8s"),
}


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return [each for each in found if canonicalize_name(each.name) != "ingestion-pipeline"]


def entries(name: str) -> dict[str, tuple[str, str]]:
    """Give the version of each locked package, and the lines of its entry."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(.*(?:\n[ \t].*)*)", text, re.MULTILINE)
    return {canonicalize_name(package): (version, rest) for package, version, rest in found}


@pytest.mark.parametrize("name", LOCKED)
def test_the_lock_has_all_that_is_declared_in_a_version_that_is_allowed(name: str) -> None:
    locked = entries(name)
    for requirement in declared(*LOCKED[name]):
        version, _ = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}: make lock"


@pytest.mark.parametrize("name", [*LOCKED, "uv"])
def test_every_locked_package_has_digests(name: str) -> None:
    for package, (_, rest) in entries(name).items():
        assert "--hash=sha256:" in rest, package


def test_the_oldest_packages_are_those_that_the_bounds_name() -> None:
    lowest = entries("lowest")
    for requirement in declared():
        version, _ = lowest[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}: make lock"


def test_the_lock_names_no_registry() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text("utf-8")
        assert "://" not in text, path
        assert "--index" not in text, path
