"""Check sdist and wheel before a release, and list what would be published. Publishes nothing.

Usage: python scripts/release.py DIST
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("manual/index.html", "manual/errors/index.html", "docs/errors.md")
"""What both files must contain, below the package or the root of the sdist."""


def problems(dist: Path) -> list[str]:
    """Return what is wrong with the files of a folder as a release."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    wheels, sdists = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        return [f"{dist} must contain one wheel and one sdist; run 'make build'"]
    found = []
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE
    ):
        found.append(f"CHANGELOG.md has no dated entry for version {version}")
    with zipfile.ZipFile(wheels[0]) as wheel, tarfile.open(sdists[0]) as sdist:
        for path, names in ((wheels[0], wheel.namelist()), (sdists[0], sdist.getnames())):
            if version not in path.name:
                found.append(f"{path.name} is not version {version}")
            found += [
                f"{path.name} does not contain {needed}"
                for needed in NEEDED
                if not any(name.endswith(needed) for name in names)
            ]
    return found


def main(dist: Path) -> int:
    """Print the result; return the exit code."""
    found = problems(dist)
    for problem in found:
        print(f"Error: {problem}", file=sys.stderr)
    if found:
        return 1
    print("Would publish (nothing was published):")
    for path in sorted(dist.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"  {path.name}  {path.stat().st_size:,} bytes  sha256:{digest}")
    print(f"To publish: twine upload {dist}/*")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
