"""Debian packages without root: download with a private apt state, unpack with dpkg-deb."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .cache import cache_root, locked, published
from .errors import HarnessError
from .tools import find_tool, run

T = TypeVar("T")

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = Path("/etc/apt")
# Their security updates are listed still, but many of the files are gone.
ARCHIVED = {"bullseye"}

# The lists are asked for again after this time, so that "current kernel" stays true.
LISTS_MAX_AGE_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Suite:
    """A Debian suite (for example "bookworm") for one of Debian's architectures ("arm64")."""

    name: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.name}-{self.architecture}"


class Apt:
    """`apt-get` and `apt-cache` with lists and archives of our own.

    The machine's keys are used, its state is not: so it works for any user, and also where the
    machine's lists are old or missing. Without a suite the machine's own sources are used, for
    what must fit the machine's compiler.
    """

    def __init__(self, suite: Suite | None = None) -> None:
        """Keep state in the harness's cache, in a folder of the suite."""
        self._root = cache_root() / "apt" / (str(suite) if suite else "machine")
        state, archives = self._root / "state", self._root / "cache"
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (archives / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        settings = {
            "Dir::State": str(state), "Dir::Cache": str(archives),
            "Debug::NoLocking": "true", "APT::Sandbox::User": "root", "Acquire::Retries": "3",
        }  # fmt: skip
        if suite:
            sources = self._root / "sources.list"
            sources.write_text("".join(f"{line}\n" for line in source_lines(suite.name)))
            (state / "status").touch()
            settings |= {
                "Dir::State::status": str(state / "status"),
                "Dir::Etc::sourcelist": str(sources), "Dir::Etc::sourceparts": "/dev/null",
                "APT::Architecture": suite.architecture,
                "APT::Architectures": suite.architecture,
            }  # fmt: skip
        self._options = [word for pair in settings.items() for word in ("-o", "=".join(pair))]

    def refresh(self, force: bool = False) -> None:
        """Fetch the package lists if ours are missing or old, or if told to by `force`.

        A failure is forgiven while older lists are there: better a known kernel than none.
        """
        stamp = self._root / "updated"
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_MAX_AGE_S
        if fresh and not force:
            return
        try:
            run([find_tool("apt-get"), "update", "-q", *self._options])
        except HarnessError:
            if not self._has_lists():
                raise
        if not self._has_lists():
            raise HarnessError("apt-get update brought no package lists: check apt's sources")
        (self._root / "shown.json").unlink(missing_ok=True)
        stamp.touch()

    def _has_lists(self) -> bool:
        return any((self._root / "state" / "lists").glob("*_Packages*"))

    def show(self, *packages: str) -> list[dict[str, str]]:
        """The control fields of the candidate version of each package.

        Answers are remembered until the lists are refreshed. Raises HarnessError if one of the
        packages is unknown.
        """
        memory = self._root / "shown.json"
        known = json.loads(memory.read_text()) if memory.exists() else {}
        if missing := [name for name in packages if name not in known]:
            known |= self._ask(missing)
            memory.write_text(json.dumps(known))
        return [known[name] for name in packages]

    def _ask(self, packages: list[str]) -> dict[str, dict[str, str]]:
        command = [find_tool("apt-cache"), "show", "--no-all-versions", *packages, *self._options]
        try:
            text = run(command)
        except HarnessError as error:
            raise HarnessError(f"apt offers not all of {', '.join(packages)}: {error}") from error
        pattern = re.compile(r"^([A-Za-z-]+): (.*)$", re.MULTILINE)
        answers = [dict(pattern.findall(part)) for part in text.split("\n\n") if part.strip()]
        found = {answer["Package"]: answer for answer in answers}
        if lost := set(packages) - set(found):
            raise HarnessError(f"apt does not offer {', '.join(sorted(lost))}: check its sources")
        return found

    def with_libraries(self, *packages: str) -> list[str]:
        """`packages` and the library packages that they need, directly or not.

        Of alternatives the first is taken. Libraries are what is called lib-something or zlib.
        """
        wanted = list(packages)
        for name in wanted:
            depends = self.show(name)[0].get("Depends", "")
            for need in re.findall(r"(?:^|, )((?:lib|zlib)[^ ,:|]*)", depends):
                if need not in wanted:
                    wanted.append(need)
        return wanted

    def names(self, pattern: str) -> list[str]:
        """Names of known packages that match the regular expression `pattern`."""
        text = run([find_tool("apt-cache"), "pkgnames", *self._options])
        return sorted(name for name in text.split() if re.fullmatch(pattern, name))

    def download(self, into: Path, *packages: str) -> list[Path]:
        """Download the candidate versions of `packages` into folder `into`; the .deb files."""
        command = [find_tool("apt-get"), "download", "-q", *packages, *self._options]
        run(command, cwd=into, timeout_s=1800)
        debs = sorted(into.glob("*.deb"))
        if len(debs) != len(packages):
            raise HarnessError(f"apt-get download left {len(debs)} of {len(packages)} packages")
        return debs


def source_lines(suite: str) -> list[str]:
    """The lines of a sources.list for `suite`, its security updates and what it is based on."""
    base = suite.removesuffix("-backports")
    mirror, security = _mirrors()
    lines = [(mirror, base), (mirror, suite)]
    if base not in ARCHIVED:
        lines.append((security, f"{base}-security"))
    option = f"[signed-by={KEYRING}]" if KEYRING.exists() else ""
    return [f"deb {option} {site} {name} main" for site, name in dict.fromkeys(lines)]


def _mirrors() -> tuple[str, str]:
    """Where this machine gets Debian and its security updates from, else Debian's own sites."""
    files = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]
    text = "\n".join(path.read_text(errors="replace") for path in files if path.is_file())
    sites = re.findall(r"\bhttps?://[^\s\]]+?/debian(?:-security)?(?=/?\s)", text)
    main = [site for site in sites if not site.endswith("-security")]
    security = [site for site in sites if site.endswith("-security")]
    return (main or [MIRROR])[0], (security or [f"{MIRROR}-security"])[0]


def unpack(deb: Path, into: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Unpack those files of `deb` whose path in the package is `wanted` (no leading `./`)."""
    command = [find_tool("dpkg-deb"), "--fsys-tarfile", str(deb)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isdir() and wanted(name):
                _extract(archive, member, into / name, into)
    if process.returncode:
        raise HarnessError(f"cannot unpack {deb.name}: dpkg-deb ended with {process.returncode}")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, root: Path) -> None:
    # By hand: owners and set-id bits are not wanted, and Python 3.11.2 has no extraction filters.
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        target.hardlink_to(root / member.linkname.removeprefix("./"))
    elif content := archive.extractfile(member):
        with content, target.open("wb") as out:
            shutil.copyfileobj(content, out)
        target.chmod(member.mode & 0o755)


def with_apt(build: Callable[[Apt], T], suite: Suite | None = None) -> T:
    """Return `build(apt)` with the apt of `suite`; if it fails, once more with new lists.

    Archives drop a version as soon as the next is there, so lists of yesterday can name files
    that are gone today. Only one process at a time is in here.
    """
    with locked("packages"):
        apt = Apt(suite)
        apt.refresh()
        try:
            return build(apt)
        except HarnessError:
            apt.refresh(force=True)
            return build(apt)


def fetched(
    name: str, packages: list[str], suite: Suite | None = None, *, libraries: bool = False
) -> Path:
    """A folder with the contents of all `packages` of `suite`, made on first use.

    With `libraries` those of the library packages that they need are there too.

    `name` names the folder (within the suite); the candidate versions of the packages are written
    down inside in `versions.json`, and the folder is made anew when they change.
    """

    def build(apt: Apt) -> Path:
        names = apt.with_libraries(*packages) if libraries else packages
        versions = {fields["Package"]: fields["Version"] for fields in apt.show(*names)}
        final = cache_root() / "packages" / (f"{name}-{suite}" if suite else name)
        record = final / "versions.json"
        if record.exists() and json.loads(record.read_text()) == versions:
            return final
        with published(final) as scratch:
            for deb in apt.download(scratch, *names):
                unpack(deb, scratch)
                deb.unlink()
            _make_links_relative(scratch)
            _merge_usr(scratch)
            (scratch / "versions.json").write_text(json.dumps(versions, indent=1))
        return final

    return with_apt(build, suite)


def _merge_usr(root: Path) -> None:
    """Give `root` the top-level links of an installed system, which newer packages rely on.

    Debian 13's packages hold all in /usr, yet their linker scripts and loaders name /lib.
    """
    for top in ("bin", "lib", "lib32", "lib64"):
        if not (root / top).exists() and (root / "usr" / top).exists():
            (root / top).symlink_to(f"usr/{top}")
    # What the installation script of libc6-i386 does there.
    if (root / "usr/lib32/ld-linux.so.2").exists() and not (root / "lib/ld-linux.so.2").exists():
        (root / "lib/ld-linux.so.2").symlink_to("../lib32/ld-linux.so.2")


def _make_links_relative(root: Path) -> None:
    """Make absolute links stay inside `root`, where a package's own paths begin."""
    for link in root.rglob("*"):
        if not link.is_symlink():
            continue
        target = str(link.readlink())
        if target.startswith("/"):
            depth = len(link.relative_to(root).parts) - 1
            link.unlink()
            link.symlink_to("../" * depth + target.lstrip("/"))
