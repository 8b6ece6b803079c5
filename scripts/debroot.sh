# Sourced by scripts/setup: Debian packages without root.
#
# A private apt (own lists and cache, the machine's own sources and keys) resolves against what
# the machine has installed; what is missing is unpacked under $KDUMP_GDBSERVER_DEBROOT, and
# each program gets a wrapper in bin/ there that finds its libraries.
# shellcheck shell=bash

debroot_install() { # PACKAGE...
    local root=$KDUMP_GDBSERVER_DEBROOT
    debroot_prepare "$root" || return
    debroot_unpack "$root" "$@" >/dev/null 2>&1 || {
        # No package lists yet, or they name versions that have been replaced since.
        quietly apt-get -c "$root/apt.conf" update && quietly debroot_unpack "$root" "$@"
    } || return
    debroot_borrow_libc "$root"
    debroot_wrap "$root"
}

debroot_prepare() { # ROOT
    local root=$1 release dir
    release=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-rolling} $(uname -m)")
    # Libraries of two releases do not mix: start again after an upgrade of the machine.
    [ "$(cat "$root/release" 2>/dev/null)" = "$release" ] || rm -rf "$root"
    mkdir -p "$root"/{bin,debs,unpacked,apt/lists/partial,apt/cache/archives/partial}
    # Debian 12's packages still name /lib and /usr/lib apart; as on the machine, they are one.
    for dir in lib lib32 lib64 libexec share include; do
        mkdir -p "$root/usr/$dir"
        ln -sfn "usr/$dir" "$root/$dir"
    done
    echo "$release" >"$root/release"
    # The hooks of the machine's own configuration are for root.
    cat >"$root/apt.conf" <<END
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
Dir::State "$root/apt";
Dir::State::lists "$root/apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$root/apt/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "3";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
Debug::NoLocking "true";
END
}

debroot_unpack() { # ROOT PACKAGE...
    local root=$1 plan deb
    shift
    # Lines of the plan: "Inst NAME [INSTALLED-VERSION] (VERSION ARCHIVE [ARCH]) ..."
    plan=$(apt-get -c "$root/apt.conf" --simulate install "$@") || {
        say "$plan"
        return 1
    }
    # One libc per process: the machine's loader goes with the machine's libc6.
    plan=$(sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' <<<"$plan" |
        grep -v '^libc6=' | while read -r deb; do
        [ -e "$root/unpacked/$deb" ] || say "$deb"
    done)
    [ -n "$plan" ] || return 0
    rm -f "$root"/debs/*.deb
    # shellcheck disable=SC2086 # one word for each package
    (cd "$root/debs" && apt-get -c "$root/apt.conf" -q download $plan) || return
    for deb in "$root"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" |
            tar -x --keep-directory-symlink --no-same-owner -C "$root" \
                --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
                --exclude='./usr/share/locale/*' || return
        rm -f "$deb"
    done
    for deb in $plan; do : >"$root/unpacked/$deb"; done
}

# gcc is told to take its headers and libraries from the unpacked tree, which lacks the C library
# and gcc's run-time library where the machine has them: link those in.
debroot_borrow_libc() { # ROOT
    local root=$1 file
    dpkg-query -L libc6 libgcc-s1 | grep -E '/(lib|ld-)[^/]*\.so\.[0-9]+$' | while read -r file; do
        file=/usr/${file#/usr}
        file=/usr/${file#/usr/}
        [ -e "$root$file" ] || { mkdir -p "$root${file%/*}" && ln -s "$file" "$root$file"; }
    done
}

debroot_wrap() { # ROOT
    local root=$1 triplet libs program name more extra
    # Not by what lies in usr/lib: cross compilers bring folders of other architectures.
    triplet=$(dpkg-query -L libc6 | sed -nE 's|.*/([^/]+)/libc\.so\.6$|\1|p' | uniq)
    libs=$root/usr/lib/$triplet
    for program in "$root"/usr/{bin,sbin}/*; do
        name=${program##*/}
        # Only programs: scripts and broken links of the packages are of no use here.
        [ "$(head -c 4 "$program" 2>/dev/null | tail -c 3)" = ELF ] || continue
        # Most find their data relative to where they are; these have to be told.
        more='' extra=''
        case $name in
        *gcc | *gcc-[0-9]*)
            # -idirafter: for -m32, which else would want a second copy of the same headers.
            extra="--sysroot='$root' -idirafter '$root/usr/include/$triplet'"
            ;;
        qemu-system-*)
            more="export QEMU_MODULE_DIR='$libs/qemu'"
            extra="-L '$root/usr/share/qemu' -L '$root/usr/share/seabios' -L '$root/usr/lib/ipxe/qemu'"
            ;;
        gdb-multiarch)
            # It lives on the files of gdb's package, which the machine may have already.
            [ -e "$root/usr/share/gdb/python" ] || extra="--data-directory=/usr/share/gdb"
            ;;
        esac
        # "-a": the program takes the wrapper's place for its own and looks for its data beside
        # it; so a virtualenv's python, a link to the wrapper, finds the virtualenv.
        cat >"$root/bin/$name" <<END
#!/bin/bash
export LD_LIBRARY_PATH='$libs'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
$more
exec -a "\$0" '$program' $extra "\$@"
END
        chmod +x "$root/bin/$name"
    done
}
