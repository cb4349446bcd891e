# shellcheck shell=bash
# What demo.sh and test.sh share: install the Debian packages that are missing, then configure and build.
# Sourced, not run; the caller has set -euo pipefail and stands in the repository root.

say() {
    printf '%s\n' "$*"
}

# quietly WHAT COMMAND...: runs the command with its output in a log; on failure shows the end of it and stops.
quietly() {
    local what=$1 log code=0
    shift
    # The log is kept if the command fails, so that its whole output can be read or sent.
    log=$(mktemp "${TMPDIR:-/tmp}/eqflow-setup.XXXXXX")
    "$@" >"$log" 2>&1 </dev/null || code=$?
    if [ "$code" -ne 0 ]; then
        {
            say "error: $what failed (exit $code). The command was:"
            say "    ${*/#as_root/sudo}"
            say "The end of its output; all of it is in $log:"
            tail -n 40 "$log" | sed 's/^/    /'
        } >&2
        exit 1
    fi
    rm -f "$log"
}

package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# as_root COMMAND...: through sudo unless this already is root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Says so where the package names are not known to fit.
name_system() {
    local system
    system=$(. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-}" "${VERSION_ID:-}") || true
    case $system in
    'debian 12' | 'debian 13' | 'ubuntu 24.04') ;;
    *)
        say "This is ${system:-no named system}; the names of packages are those of"
        say "Debian 12 and 13 and Ubuntu 24.04."
        ;;
    esac
}

# install_packages PACKAGE...: those that are missing, and nothing at all when none is. A tool counts as present if its
# command is, whatever package it came from.
install_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "This is not a Debian system: going on with what is installed. Needed, by Debian's"
        fold -s -w 80 <<<"names: $*"
        say "docs/install.md has other systems' names."
        return
    fi
    name_system
    for package in "$@"; do
        case $package in
        gcc) command -v cc >/dev/null || missing+=(gcc) ;;
        cmake) command -v cmake >/dev/null || missing+=(cmake) ;;
        ninja-build) command -v ninja >/dev/null || missing+=(ninja-build) ;;
        pkg-config) command -v pkg-config >/dev/null || missing+=(pkg-config) ;;
        *) package_is_installed "$package" || missing+=("$package") ;;
        esac
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return
    fi
    fold -s -w 80 <<<"Installing Debian packages: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        {
            say "error: installing needs root, and there is no sudo. As root, run this, then start"
            say "again:"
            say "    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
        } >&2
        exit 1
    fi
    # Ask for the password now: quietly hides sudo's question.
    [ "$(id -u)" -eq 0 ] || sudo -v
    # One unreachable foreign source must not stop us: if the lists really are unusable, the installation says so.
    (quietly "updating the package lists" as_root env DEBIAN_FRONTEND=noninteractive apt-get update) ||
        say "Going on with the package lists that are there."
    quietly "installing packages" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}"
}

# All that the library and the program need to be built and to run; PoCL makes the CPU an OpenCL device.
# shellcheck disable=SC2034  # used by the scripts that source this file
build_packages=(gcc libc6-dev cmake ninja-build pkg-config ocl-icd-opencl-dev opencl-headers pocl-opencl-icd
    libclblast-dev librandom123-dev libjansson-dev libpopt-dev libmd-dev gnuplot-nox)
# shellcheck disable=SC2034
test_packages=(libcmocka-dev jq python3-numpy python3-pytest python3-nbclient python3-ipykernel python3-matplotlib)

# build_release TARGET [CMAKE OPTION...]: configures build/ for Release and builds TARGET there.
build_release() {
    local target=$1 generator=()
    shift
    # The generator of a build folder cannot be changed: choose only for a new one.
    if [ ! -f build/CMakeCache.txt ] && command -v ninja >/dev/null; then
        generator=(-G Ninja)
    fi
    say "Configuring (Release) in build/ ..."
    quietly "cmake" cmake -S . -B build "${generator[@]}" -DCMAKE_BUILD_TYPE=Release "$@"
    say "Building with $(nproc) processes ..."
    quietly "the build" cmake --build build --target "$target" --parallel "$(nproc)"
}
