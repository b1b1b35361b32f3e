"""A small tree of apt lists as Debian lays them out, and an apt-get that "downloads" it. Written for these tests."""

from __future__ import annotations

import shutil
from pathlib import Path

KO = "deb.example_debian_dists_stable_main_i18n_Translation-ko"
EN = "deb.example_debian_dists_stable_main_i18n_Translation-en"
PACKAGES = "deb.example_debian_dists_stable_main_binary-amd64_Packages"
LONG_KO = "이 꾸러미는 사진을 정리하고 오래된 파일을 찾아 지우는 도구를 담고 있으며 명령줄에서 쓸 수 있습니다."
LONG_EN = "This package holds a tool that sorts photographs and finds old files to delete, from the command line."


def translation(lang: str, md5: str, package: str, synopsis: str, *lines: str) -> str:
    body = "".join(f" {line}\n" for line in lines)
    return f"Package: {package}\nDescription-md5: {md5}\nDescription-{lang}: {synopsis}\n{body}\n"


def package(name: str, md5: str | None, source: str | None = None) -> str:
    lines = [f"Package: {name}", *([f"Source: {source}"] if source else []), "Version: 1.0", f"Description: {name}"]
    return "\n".join([*lines, *([f"Description-md5: {md5}"] if md5 else [])]) + "\n\n"


def write_lists(folder: Path, *, records: int = 60) -> Path:
    """``records`` good descriptions, two per source package, and one for every reason to drop one."""
    folder.mkdir(parents=True, exist_ok=True)
    ko, en, packages = [], [], []

    def add(md5: str, name: str, title: str, body: str, source: str | None = None, english: bool = True) -> None:
        ko.append(translation("ko", md5, name, title, body))
        if english:
            en.append(translation("en", md5, name, f"tool {name}", f"{LONG_EN} It is called {name}."))
        packages.append(package(name, md5, source))

    for i in range(records):
        add(f"{i:032x}", f"tool{i}", f"도구 {i}", f"{LONG_KO} 번호 {i}", f"source{i // 2} (1.0-{i})")
    add("a" * 32, "english-title", "only Latin", LONG_KO)
    add("b" * 32, "latin-body", "라틴", "한글 " + LONG_EN)
    add("c" * 32, "short", "짧은", "짧은 글")
    add("d" * 32, "lonely", "외톨이", LONG_KO, english=False)
    ko.append(translation("ko", f"{0:032x}", "tool0-again", "도구 0", LONG_KO))
    packages.append(package("third-party", None))
    (folder / KO).write_text("".join(ko), encoding="utf-8")
    (folder / EN).write_text("".join(en), encoding="utf-8")
    (folder / PACKAGES).write_text("".join(packages), encoding="utf-8")
    return folder


def fake_apt(bin_folder: Path, lists: Path | None, *, code: int = 0, says: str = "") -> Path:
    """An apt-get that copies ``lists`` to where its -c file says lists go, prints and exits."""
    bin_folder.mkdir(parents=True, exist_ok=True)
    script = bin_folder / "apt-get"
    copy = f'cp "{lists}"/* "$target"/' if lists else ":"
    sed = shutil.which("sed")
    script.write_text(
        f"""#!/bin/sh
target=$({sed} -n 's/^Dir::State::Lists "\\(.*\\)";$/\\1/p' "$3")
{copy}
echo '{says}'
exit {code}
"""
    )
    script.chmod(0o755)
    return bin_folder
