"""The kernels under test: Debian's cloud kernels and their debug information."""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_root, published, used
from .errors import HarnessError
from .packages import Apt, unpack, with_apt

META_PACKAGES = {
    "6.1": "linux-image-cloud-amd64",
    "6.12": "linux-image-6.12-cloud-amd64",
}

# Modules that a guest may load, in the order of loading (dependencies first).
GUEST_MODULES = ("qemu_fw_cfg", "virtio_ring", "virtio", "virtio_pci_legacy_dev",
                 "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """One unpacked kernel.

    `release` is what `uname -r` says, `version` the Debian package version. `modules` holds the
    loadable .ko files (uncompressed) and `module_debug` their debug files, by module name.
    """

    release: str
    version: str
    image: Path
    vmlinux: Path
    modules: dict[str, Path]
    module_debug: dict[str, Path]


def _image_package(apt: Apt, series: str) -> str:
    """The image package of `series`: the meta package's dependency, else the newest listed."""
    try:
        depends = apt.show(META_PACKAGES[series])[0].get("Depends", "")
        image = re.split(r"[ ,]", depends)[0]
        if not image.startswith(f"linux-image-{series}."):
            raise HarnessError(f"Debian's {META_PACKAGES[series]} here is not {series}: {image}")
        return image
    except HarnessError:
        pattern = rf"linux-image-{re.escape(series)}\.\S*-cloud-amd64"
        known = set(apt.names(rf"{pattern}(-dbg)?"))
        full = [name for name in known if f"{name}-dbg" in known]
        if not full:
            raise
        return max(full, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def kernel(series: str) -> Kernel:
    """The current Debian kernel of `series` ("6.1" or "6.12"), downloaded on first use.

    Raises HarnessError if apt cannot provide the image or its -dbg package.
    """
    if series not in META_PACKAGES:
        raise HarnessError(f"no kernel series {series!r}: there are {', '.join(META_PACKAGES)}")

    def build(apt: Apt) -> Kernel:
        package = _image_package(apt, series)
        version = apt.show(package)[0]["Version"]
        final = cache_root() / "kernels" / f"{series}-{version.replace(':', '_')}"
        if not (final / "kernel.json").exists():
            with published(final) as scratch:
                _fetch(apt, package, version, scratch)
        return _load(used(final, f"{series}-"))

    return with_apt(build)


def _fetch(apt: Apt, package: str, version: str, into: Path) -> None:
    release = package.removeprefix("linux-image-")
    [image] = apt.download(into, package)
    unpack(image, into, lambda name: name.startswith("boot/vmlinuz") or _is_guest_module(name))
    image.unlink()
    for compressed in into.rglob("*.ko.xz"):
        compressed.with_suffix("").write_bytes(lzma.decompress(compressed.read_bytes()))
        compressed.unlink()
    [debug] = apt.download(into, f"{package}-dbg")
    # Of more than a gigabyte only vmlinux and a handful of modules are wanted.
    unpack(debug, into, lambda name: name.endswith(f"/vmlinux-{release}") or _is_guest_module(name))
    debug.unlink()
    facts = {"release": release, "version": version}
    (into / "kernel.json").write_text(json.dumps(facts))


def _is_guest_module(name: str) -> bool:
    match = re.fullmatch(r".*/([^/]+)\.ko(\.xz|\.debug)?", name)
    return bool(match) and match.group(1).replace("-", "_") in GUEST_MODULES  # type: ignore[union-attr]


def _load(folder: Path) -> Kernel:
    facts = json.loads((folder / "kernel.json").read_text())
    plain: dict[str, Path] = {}
    debug: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.ko*")):
        table = debug if "debug" in path.relative_to(folder).parts else plain
        table[path.name.split(".")[0].replace("-", "_")] = path
    vmlinux = next((p for p in folder.rglob("vmlinux-*") if p.is_file()), None)
    if vmlinux is None:
        raise HarnessError(f"{folder} has no vmlinux: remove that folder and try again")
    image = folder / "boot" / f"vmlinuz-{facts['release']}"
    return Kernel(facts["release"], facts["version"], image, vmlinux, plain, debug)
