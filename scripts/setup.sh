#!/usr/bin/env bash
# Installs what Levsha needs and is quick when nothing is missing: .venv with pinned requirements, the system packages that the
# targets name, the images of Fashion-MNIST, the simulator's runner.  With the argument `tests` also what the tests need beyond that.  Without a toolchain
# Levsha still trains, shrinks and interprets; the table then says what was not measured.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-demo}
test_packages=(g++ arduino-core-avr gcc-arm-none-eabi qemu-user-static)

# apt_install PACKAGE...: through apt, as root or with sudo; what could not be had is remembered and not tried again.
apt_install() {
    local missing=() sudo=() package
    for package in "$@"; do
        case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in *" installed") ;; *) missing+=("$package") ;; esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if grep -qxF "${missing[*]}" .apt-tried 2>/dev/null; then
        echo "setup: going on without ${missing[*]}, which could not be installed before; to try again: rm .apt-tried" >&2
        return 0
    fi
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    if ! command -v apt-get >/dev/null || ! "${sudo[@]}" true 2>/dev/null; then
        echo "setup: going on without ${missing[*]}; to get them: sudo apt-get install ${missing[*]}" >&2
        return 0
    fi
    echo "setup: installing ${missing[*]}"
    { "${sudo[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
        { echo "setup: apt-get failed; going on without ${missing[*]}" >&2; echo "${missing[*]}" >>.apt-tried; }
}

wanted=$(cat constraints.txt pyproject.toml scripts/setup.sh | sha256sum)
if [ "$(cat ".venv/.setup-$part" 2>/dev/null)" != "$wanted" ]; then
    python=
    for candidate in python3 python3.11 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then echo "setup: Python 3.11 or newer is needed; found $(python3 --version 2>&1)" >&2; exit 2; fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv 2>/dev/null || { apt_install python3-venv; "$python" -m venv --clear .venv; }
    extra='.'
    [ "$part" != tests ] || extra='.[dev]'
    echo "setup: installing pinned Python packages into .venv ($part)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "$extra"
    echo "$wanted" >".venv/.setup-$part"
fi

# shellcheck disable=SC2046 (a list of words)
apt_install $(.venv/bin/python -m levsha.targets)
apt_install dataset-fashion-mnist
[ "$part" != tests ] || apt_install "${test_packages[@]}"
# Compiles the simulator's runner once, into the user's cache folder, so that the first measurement need not.
.venv/bin/python -c 'from levsha.targets.avr.simulate import runner; runner()' 2>/dev/null ||
    echo "setup: the simulator was not built (gcc, libsimavr-dev or libelf-dev is missing): nothing will be measured" >&2
