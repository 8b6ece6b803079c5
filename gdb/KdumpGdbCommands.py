"""Commands for gdb connected to kdump-gdbserver's kernel view: `source KdumpGdbCommands.py`.

    kdump-kernel-ps                     list every task
    kdump-save-kernel-json FILE         save the tasks, for `kdump-gdbserver -k FILE`
    kdump-save-process-json FILE PID    save one process, for `kdump-gdbserver -j FILE`
    kdump-symbol-file [VMLINUX]         load the kernel's symbols where the dumped kernel was

`help COMMAND` tells more. They need nothing but gdb with Python 3.6 or newer, the dump's
vmlinux, and a connection; they read and never write the target.

Once sourced it also lets gdb's backtraces pass from a CPU's interrupt stack to the stack that
was interrupted, on x86_64 (`info unwinder` lists it as kdump-interrupt-stacks).

All of that is in the folder kdump_commands beside this file: if you copy one, copy both. Source
the file again after an update, and the new commands are there.
"""

# ruff: noqa: N999  (users know the file by this name)


def kdump_load() -> None:
    """Load the package beside this file, a new one in the place of an older one.

    It is loaded from that very place, and Python's search path is left alone: so no module of
    another script is hidden by ours, nor ours by one of the same name.
    """
    import importlib.util
    import pathlib
    import sys

    import gdb

    name = "kdump_commands"
    # Not __file__, which is the outer one's if another script sources this file.
    here = pathlib.Path(sys._getframe().f_code.co_filename).resolve().parent
    spec = importlib.util.spec_from_file_location(name, str(here / name / "__init__.py"))
    if spec is None or spec.loader is None or not (here / name / "registration.py").is_file():
        gdb.write(
            "KdumpGdbCommands.py: no folder %s in %s: copy the folder too, or source the file "
            "that `kdump-gdbserver --print-gdb-script` names\n" % (name, here),
            gdb.STDERR,
        )
        return
    importlib.invalidate_caches()
    for loaded in [key for key in sys.modules if key == name or key.startswith(name + ".")]:
        del sys.modules[loaded]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    importlib.import_module(name + ".registration").register()


kdump_load()
del kdump_load  # all scripts that are sourced share one name space
