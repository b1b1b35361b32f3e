"""Check that dist/ holds one wheel and one sdist of this version, and the wheel exactly the files of the packages.

    python .ci/check_release.py dist

The wheel is built from the sdist, so a file that the sdist lacks is missing here too.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    folder = Path(sys.argv[1])
    version = re.search(r'^__version__ = "(.+)"', (ROOT / "src/osparse/__init__.py").read_text(), re.MULTILINE)
    if version is None:
        sys.exit("src/osparse/__init__.py has no __version__")
    required = {f"osparse-{version[1]}-py3-none-any.whl", f"osparse-{version[1]}.tar.gz"}
    built = {path.name for path in folder.iterdir()}
    if built != required:
        sys.exit(f"{folder} must hold {sorted(required)}, got {sorted(built)}")
    with zipfile.ZipFile(folder / f"osparse-{version[1]}-py3-none-any.whl") as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    tracked = package_files()
    if packed != tracked:
        sys.exit(f"the wheel lacks {sorted(tracked - packed)} and should not have {sorted(packed - tracked)}")
    print(f"{len(packed)} files, version {version[1]}")


def package_files() -> set[str]:
    """Tracked files of the package directories, by their place in the wheel."""
    directories = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    files = set()
    for package, directory in directories.items():
        command = ["git", "ls-files", "--", directory]
        for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            files.add(f"{package.replace('.', '/')}/{Path(name).relative_to(directory).as_posix()}")
    return files


if __name__ == "__main__":
    main()
