#!/usr/bin/env bash
# Installs what Levsha needs and is quick when nothing is missing: system packages, .venv, pinned requirements, the simulator
# runner.  Without a toolchain Levsha still trains, shrinks and interprets; the table then says what was not measured.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(gcc libc6-dev gcc-avr avr-libc binutils-avr libsimavr-dev libelf-dev arduino-core-avr python3-venv)
missing=()
for package in "${packages[@]}"; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in *" installed") ;; *) missing+=("$package") ;; esac
done
if [ ${#missing[@]} -gt 0 ] && [ "$(cat .venv/.apt-tried 2>/dev/null)" = "${missing[*]}" ]; then
    echo "setup: going on without ${missing[*]}, which could not be installed before; to try again: rm .venv/.apt-tried" >&2
elif [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then sudo=(); else sudo=(sudo -n); fi
    if command -v apt-get >/dev/null && "${sudo[@]}" true 2>/dev/null; then
        echo "setup: installing ${missing[*]}"
        { "${sudo[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
            { echo "setup: apt-get failed; going on without ${missing[*]}" >&2; tried="${missing[*]}"; }
    else
        echo "setup: going on without ${missing[*]}; to get them: sudo apt-get install ${missing[*]}" >&2
    fi
fi

wanted=$(cat constraints.txt pyproject.toml scripts/setup.sh | sha256sum)
if [ "$(cat .venv/.setup-done 2>/dev/null)" != "$wanted" ]; then
    python=
    for candidate in python3 python3.11 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then echo "setup: Python 3.11 or newer is needed; found $(python3 --version 2>&1)" >&2; exit 2; fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    echo "setup: installing pinned Python packages into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
    echo "$wanted" > .venv/.setup-done
fi

[ -z "${tried:-}" ] || echo "$tried" > .venv/.apt-tried
# Compiles the simulator's runner once, into the user's cache folder, so that the first measurement need not.
.venv/bin/python -c 'from levsha.targets.avr.simulate import runner; runner()' 2>/dev/null ||
    echo "setup: the simulator was not built (gcc, libsimavr-dev or libelf-dev is missing): nothing will be measured" >&2
