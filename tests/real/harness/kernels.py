"""The kernels under test: Debian's, with their debug information."""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_root, published, used
from .errors import HarnessError
from .machines import KernelSource, Machine
from .packages import Apt, Suite, unpack, with_apt

# Modules that a guest may load, in the order of loading (dependencies first).
GUEST_MODULES = ("qemu_fw_cfg", "virtio_ring", "virtio", "virtio_pci_legacy_dev",
                 "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """One unpacked kernel.

    `series` is the harness's name of it, `release` what `uname -r` says, `version` the Debian
    package version. `modules` holds the loadable .ko files (uncompressed) and `module_debug`
    their debug files, by module name.
    """

    machine: Machine
    series: str
    release: str
    version: str
    image: Path
    vmlinux: Path
    modules: dict[str, Path]
    module_debug: dict[str, Path]

    @property
    def source(self) -> KernelSource:
        """Where the kernel came from."""
        return self.machine.kernels[self.series]


def kernel(machine: Machine, series: str) -> Kernel:
    """The newest kernel of `series` (one of `machine.kernels`), downloaded on first use.

    Raises HarnessError if apt cannot provide the image or its -dbg package.
    """
    source = machine.kernels.get(series)
    if source is None:
        known = ", ".join(machine.kernels)
        raise HarnessError(f"no kernel series {series!r} for {machine.name}: there are {known}")

    def build(apt: Apt) -> Kernel:
        package = _image_package(apt, source)
        version = apt.show(package)[0]["Version"]
        final = cache_root() / "kernels" / machine.name / series / version.replace(":", "_")
        if not (final / "kernel.json").exists():
            with published(final) as scratch:
                _fetch(apt, package, version, scratch)
        return _load(used(final), machine, series)

    return with_apt(build, Suite(source.suite, machine.debian))


def _image_package(apt: Apt, source: KernelSource) -> str:
    """The newest image package of `source` that has debug information."""
    pattern = rf"linux-image-{re.escape(source.series)}\.[^-]*(-\d+)*-{source.flavour}"
    known = set(apt.names(rf"{pattern}(-dbg)?"))
    full = [name for name in known if f"{name}-dbg" in known]
    if not full:
        raise HarnessError(f"Debian {source.suite} offers no {pattern} that has a -dbg package")
    return max(full, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def _fetch(apt: Apt, package: str, version: str, into: Path) -> None:
    release = package.removeprefix("linux-image-")
    for name in _with_parts(apt, package):
        [image] = apt.download(into, name)
        unpack(image, into, lambda name: _is_image(name) or _is_guest_module(name))
        image.unlink()
    for compressed in into.rglob("*.ko.xz"):
        compressed.with_suffix("").write_bytes(lzma.decompress(compressed.read_bytes()))
        compressed.unlink()
    [debug] = apt.download(into, f"{package}-dbg")
    # Of more than a gigabyte only vmlinux and a handful of modules are wanted.
    symbols = (f"/vmlinux-{release}", f"/{release}/vmlinux")  # 7.x has the latter
    unpack(debug, into, lambda name: name.endswith(symbols) or _is_guest_module(name))
    debug.unlink()
    facts = {"release": release, "version": version}
    (into / "kernel.json").write_text(json.dumps(facts))


def _with_parts(apt: Apt, package: str) -> list[str]:
    """The image package and, since 7.x, those that hold its binary and its modules."""
    depends = apt.show(package)[0].get("Depends", "")
    return [package, *re.findall(r"linux-(?:binary|modules)-[^ ,]+", depends)]


def _is_image(name: str) -> bool:
    return bool(re.search(r"^boot/vmlinu[xz]|^usr/lib/modules/[^/]+/vmlinu[xz]", name))


def _is_guest_module(name: str) -> bool:
    match = re.fullmatch(r".*/([^/]+)\.ko(\.xz|\.debug)?", name)
    return bool(match) and match.group(1).replace("-", "_") in GUEST_MODULES  # type: ignore[union-attr]


def _load(folder: Path, machine: Machine, series: str) -> Kernel:
    facts = json.loads((folder / "kernel.json").read_text())
    plain: dict[str, Path] = {}
    debug: dict[str, Path] = {}
    images: list[Path] = []
    symbols: list[Path] = []
    for path in sorted(folder.rglob("*")):
        is_debug = "debug" in path.relative_to(folder).parts
        if ".ko" in path.suffixes:
            (debug if is_debug else plain)[path.name.split(".")[0].replace("-", "_")] = path
        elif path.name.startswith("vmlinu") and path.is_file() and not path.is_symlink():
            (symbols if is_debug else images).append(path)
    if not (images and symbols):
        raise HarnessError(f"{folder} has no kernel: remove that folder and try again")
    return Kernel(machine, series, facts["release"], facts["version"], images[0], symbols[0],
                  plain, debug)  # fmt: skip
