"""Commands for gdb connected to kdump-gdbserver's kernel view: `source KdumpGdbCommands.py`.

    kdump-kernel-ps                     list every task
    kdump-save-kernel-json FILE         save the tasks, for `kdump-gdbserver -k FILE`
    kdump-save-process-json FILE PID    save one process, for `kdump-gdbserver -j FILE`
    kdump-symbol-file [VMLINUX]         load the kernel's symbols where the dumped kernel was

`help COMMAND` tells more. They need nothing but gdb with Python 3.6 or newer, the dump's
vmlinux, and a connection; they read and never write the target.

Once sourced it also lets gdb's backtraces pass from a CPU's interrupt stack to the stack that
was interrupted, on x86_64 (`info unwinder` lists it as kdump-interrupt-stacks). On arm64 it lets
those of gdb before 14 pass through signed return addresses, and those of any gdb through the code
that started the kernel and is gone (kdump-arm64-frames, which is also a frame filter).

In a checkout or an installation most of that is in the folder kdump_commands beside this file, in
domain/kernel and in domain/arch. To have it elsewhere, `kdump-gdbserver --write-gdb-script FILE`
writes it all as one file. Source the file again after an update, and the new commands are there.
"""

# ruff: noqa: N999  (users know the file by this name)

# In a file that --write-gdb-script wrote: each module's path and text, after those it imports.
kdump_modules = []  # type: list[tuple[str, str]]


def kdump_folders() -> "tuple[object, object] | None":
    """The folders that hold domain and kdump_commands, or None.

    They are beside this file, or where the program on PATH has its own, for a copy of this
    folder alone.
    """
    import pathlib
    import shutil
    import subprocess
    import sys

    # Not __file__, which is the outer one's if another script sources this file.
    here = pathlib.Path(sys._getframe().f_code.co_filename).resolve().parent
    program = shutil.which("kdump-gdbserver")
    for _ in range(2):
        for outer in (here.parent, here):
            ours = (
                outer / "domain/arch/model.py",
                outer / "domain/kernel/kernel.py",
                here / "kdump_commands/registration.py",
            )
            if all(file.is_file() for file in ours):
                return outer, here
        if program is None:
            return None
        try:
            script = subprocess.check_output(
                [program, "--print-gdb-script"], stdin=subprocess.DEVNULL, timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return None
        here = pathlib.Path(script.decode("utf-8", "surrogateescape").strip()).parent
    return None


def kdump_load(modules: "list[tuple[str, str]]", folders: "tuple[object, object] | None") -> None:
    """Load our modules, new ones in the place of older ones, and give gdb the commands.

    They all have names below one that is ours alone, and Python's search path is left as it is:
    so no module of another script is hidden by ours, nor ours by one of the same name.
    """
    import importlib.machinery
    import importlib.util
    import sys
    import types

    import gdb

    if folders is None:
        gdb.write(
            "KdumpGdbCommands.py: domain and kdump_commands are not beside it: source the file "
            "that `kdump-gdbserver --print-gdb-script` names, or, to have it elsewhere, the "
            "one file that `kdump-gdbserver --write-gdb-script FILE` writes\n",
            gdb.STDERR,
        )
        return
    root = "kdump_gdb_script"
    importlib.invalidate_caches()
    for loaded in [key for key in sys.modules if key == root or key.startswith(root + ".")]:
        del sys.modules[loaded]

    def add(name: str, places: "list[str] | None") -> types.ModuleType:
        spec = importlib.machinery.ModuleSpec(name, None)
        spec.submodule_search_locations = places  # None: not a package
        sys.modules[name] = importlib.util.module_from_spec(spec)
        return sys.modules[name]

    add(root, [str(folders[0])])
    add(root + ".gdb", [str(folders[1])])
    added = []
    for path, _ in modules:
        name = root + "." + path[: -len(".py")].replace("/", ".")
        if path.endswith("/__init__.py"):
            added.append(add(name[: -len(".__init__")], []))
        else:
            added.append(add(name, None))
    for (path, text), module in zip(modules, added):
        exec(compile(text, path, "exec"), module.__dict__)
    importlib.import_module(root + ".gdb.kdump_commands.registration").register()


kdump_load(kdump_modules, ("", "") if kdump_modules else kdump_folders())
del kdump_load, kdump_folders, kdump_modules  # all scripts that are sourced share one name space
