# Sourced by scripts/setup: the virtualenv .venv with the project and its tools in it.
# shellcheck shell=bash

make_venv() { # PYTHON
    local python=$1 key
    # Anew when what goes in changes, or who makes it, or the place (a virtualenv cannot move).
    key=$({ cat pyproject.toml && "$python" -VV && pwd; } | sha256sum)
    [ "$(cat .venv/made-from 2>/dev/null)" != "$key" ] || return 0
    say "Setting up .venv: the project and its Python packages"
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PIP_ROOT_USER_ACTION=ignore
    rm -rf .venv
    if "$python" -c 'import ensurepip' 2>/dev/null &&
        [[ $python != "$KDUMP_GDBSERVER_DEBROOT"/* ]]; then
        quietly "$python" -m venv .venv || die "$python cannot make a virtualenv; see the lines above"
    else
        # Debian's ensurepip looks for pip's wheel below /usr, wherever it runs from itself.
        local wheel
        wheel=$(find_pip_wheel) || die "no pip for $python: install Debian's package python3-venv"
        "$python" -m venv --without-pip .venv
        quietly .venv/bin/python "$wheel/pip" install --no-index "$wheel" ||
            die "$wheel cannot be installed; see the lines above"
    fi
    quietly .venv/bin/python -m pip install --quiet --editable '.[dev]' ||
        die "could not install the Python packages; see the lines above, then run the command again"
    # Not there for every machine and Python; the tests that want them skip, saying so.
    quietly .venv/bin/python -m pip install --quiet --editable '.[debuggers]' >/dev/null 2>&1 ||
        say "No newer gdb and LLDB for the tests: the system's have to do"
    echo "$key" >.venv/made-from
}
