#!/bin/sh
# What the Makefile needs from the system. Installs it where it may; else says the one line to run and stops.
#   tools/set_up.sh venv DIR [PYTHON]    a virtual environment of Python >= 3.11
#   tools/set_up.sh broker               Mosquitto
#   tools/set_up.sh emulator             what a Debian of another processor is made and run with; root only
set -eu

say() { echo "set-up: $*" >&2; }

# install PACKAGE WHY: as root, or by sudo where it asks for no password.
install() {
    if ! command -v apt-get >/dev/null; then
        say "$2: install $1 with your system's package manager, then run make again"
        exit 1
    fi
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        say "$2; run this line, then make again:"
        echo "    sudo apt-get install -y $1" >&2
        exit 1
    fi
    say "$2: installing $1"
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq"
    $apt install -y --no-install-recommends "$1" >/dev/null 2>&1 && return
    $apt update >/dev/null && $apt install -y --no-install-recommends "$1" >/dev/null
}

new_enough() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

version_of() { if command -v "$1" >/dev/null; then "$1" -V 2>&1; else echo missing; fi; }

venv() {
    python=""
    for candidate in ${2:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        say "the server needs Python 3.11 or newer, and ${2:-python3} is $(version_of "${2:-python3}");" \
            "install one (Ubuntu 22.04: sudo apt-get install -y python3.11-venv), or name it: make PYTHON=..."
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        install "$package" "$python comes without venv"
    fi
    "$python" -m venv "$1"
}

broker() {
    # Debian keeps it in /usr/sbin, which is not on everyone's PATH.
    if command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || [ -x /usr/local/sbin/mosquitto ]; then
        return
    fi
    install mosquitto "no MQTT broker here (its service need not run: fimi-server starts its own)"
}

emulator() {
    if [ "$(id -u)" -ne 0 ]; then
        say "root only: an arm64 Debian is unpacked, mounted and entered; run: sudo make arm64"
        exit 1
    fi
    why="needed for an arm64 Debian"
    [ "$(uname -m)" = aarch64 ] || command -v qemu-aarch64-static >/dev/null || install qemu-user-static "$why"
    command -v debootstrap >/dev/null || install debootstrap "$why"
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install debian-archive-keyring "$why"
    command -v gpgv >/dev/null || install gpgv "$why"
}

"$@"
