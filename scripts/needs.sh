# Sourced by scripts/setup: what the project needs, how to see that it is there, who has it.
# shellcheck shell=bash

# need         Debian packages (12 and 13 use the same names)
NEEDS='
python         python3 python3-venv
gdb            gdb
gdbserver      gdbserver
gcc            gcc libc6-dev
binutils       binutils
libc-symbols   libc6-dbg
qemu           qemu-system-x86
gdb-multiarch  gdb-multiarch
qemu-arm       qemu-system-arm
gcc-aarch64    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
gcc-arm        gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
qemu-misc      qemu-system-misc
qemu-ppc       qemu-system-ppc
gcc-riscv64    gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
gcc-s390x      gcc-s390x-linux-gnu libc6-dev-s390x-cross
gcc-ppc64le    gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross
libkdumpfile   libkdumpfile10
makedumpfile   makedumpfile
crash          crash
lldb           lldb
'

packages_of() { # NEED
    local packages
    packages=$(awk -v need="$1" '$1 == need { $1 = ""; print }' <<<"$NEEDS")
    [ -n "$packages" ] || die "scripts/setup knows no need '$1'; those it knows: $(awk '{print $1}' <<<"$NEEDS" | xargs)"
    say "$packages"
}

# A program that is there but cannot do its job does not count, hence trials and not look-ups.
has() { # NEED
    case $1 in
    python) find_python ;;
    gdb) gdb -nx -q -batch -ex 'python import gdb, json' ;;
    gcc) compiles gcc ;;
    gcc-aarch64 | gcc-riscv64 | gcc-s390x) compiles "${1#gcc-}-linux-gnu-gcc" ;;
    gcc-arm) compiles arm-linux-gnueabihf-gcc ;;
    gcc-ppc64le) compiles powerpc64le-linux-gnu-gcc ;;
    binutils) objcopy --version ;;
    qemu) emulates x86_64 none ;;
    qemu-arm) emulates aarch64 virt ;;
    qemu-misc) emulates riscv64 virt && emulates s390x s390-ccw-virtio ;;
    qemu-ppc) emulates ppc64 pseries ;;
    gdb-multiarch) gdb-multiarch -nx -q -batch -ex 'python import gdb, json' ;;
    libkdumpfile) find_libkdumpfile ;;
    libc-symbols) find_libc_symbols ;;
    makedumpfile) makedumpfile -v ;;
    *) "$1" --version ;;
    esac
} >/dev/null 2>&1 </dev/null

compiles() { # COMPILER
    echo 'int main(void) { return 0; }' | "$1" -x c -static -o /dev/null -
}

emulates() { # ARCHITECTURE MACHINE
    echo quit | "qemu-system-$1" -machine "$2" -accel tcg -nodefaults -display none -S -monitor stdio
}

# Prints the first interpreter that is new enough and can make a virtualenv with pip in it.
find_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
            { "$python" -c 'import ensurepip' 2>/dev/null || find_pip_wheel >/dev/null; }; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# Debian's python3-venv looks for this file in /usr only; unpacked elsewhere we must find it.
find_pip_wheel() {
    local wheel
    for wheel in {"$KDUMP_GDBSERVER_DEBROOT",}/usr/share/python-wheels/pip-*.whl; do
        [ ! -e "$wheel" ] || { say "$wheel" && return; }
    done
    return 1
}

# The debug file of this machine's libc, which is what user programs in the guests are run with.
find_libc_symbols() {
    local id root
    id=$(readelf -n /lib/x86_64-linux-gnu/libc.so.6 | sed -nE 's/.*Build ID: (..)(.*)/\1\/\2/p') || return
    for root in "" "$KDUMP_GDBSERVER_DEBROOT"; do
        [ ! -e "$root/usr/lib/debug/.build-id/$id.debug" ] || { say "$root" && return; }
    done
    return 1
}

# Debian's libkdumpfile, to test with beside the newer one that pip brings. The file's own name
# tells the release: 10.0.0 is 0.5.1 (Debian 12), 10.1.0 is 0.5.4 (Debian 13).
find_libkdumpfile() {
    local library
    for library in {,"$KDUMP_GDBSERVER_DEBROOT"}/usr/lib/*-linux-gnu/libkdumpfile.so.10; do
        [ ! -e "$library" ] || { realpath "$library" && return; }
    done
    return 1
}
