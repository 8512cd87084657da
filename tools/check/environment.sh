# Sourced by tools/run, tools/test and tools/check/*: makes .venv and builds the native modules, each only when needed.
#
#   find_debian COMMAND=PACKAGE ...   installs the Debian packages of commands and libraries that are missing
#   make_venv GROUP ...               .venv with these dependency groups of pyproject.toml, unless it has them already
#   build_native                      native/*.pyx in place, unless nothing of theirs changed
#
# What was done is remembered under .venv/ and .cache/ as a hash of what it was done from, so that a second run is cheap.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHON="$ROOT/.venv/bin/python"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf '== %s\n' "$*"; }
fail() { printf '!! %s\n' "$*" >&2; exit 1; }

is_installed() { # is_installed NAME: a command, or lib*.so.N as the loader knows it, or Python.h, or python-venv
    case "$1" in
        lib*.so*) case "$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)" in *"	$1 "*) true ;; *) false ;; esac ;;
        Python.h) [ -z "${BASE_PYTHON:-}" ] || [ -f "$("$BASE_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ;;
        python-venv) [ -z "${BASE_PYTHON:-}" ] || "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null ;;
        python3.11+) [ -n "$(find_python)" ] ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

find_python() { # prints the first Python that is new enough
    local name
    for name in "${PYSTREAM_PYTHON:-}" python3.11 python3 python3.12 python3.13; do
        [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
            && command -v "$name" && return 0
    done
    return 0
}

find_debian() {
    local pair missing=() sudo=()
    for pair in "$@"; do
        is_installed "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        say "missing, and no apt-get here to install it: ${missing[*]}"
        return 0
    fi
    [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
    say "installing Debian packages: ${missing[*]}"
    mkdir -p "$ROOT/.cache"
    if [ -z "${APT_UPDATED:-}" ]; then
        "${sudo[@]}" apt-get update -qq >>"$ROOT/.cache/apt.log" 2>&1 || say "apt-get update failed, see .cache/apt.log"
        APT_UPDATED=1
    fi
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >>"$ROOT/.cache/apt.log" 2>&1 </dev/null || say "apt-get install failed, see .cache/apt.log"
}

make_venv() {
    local groups=() group stamp hash
    BASE_PYTHON=$(find_python)
    find_debian python3.11+=python3
    BASE_PYTHON=${BASE_PYTHON:-$(find_python)}
    [ -n "$BASE_PYTHON" ] || fail "no Python 3.11 or newer: set PYSTREAM_PYTHON to one"
    find_debian gcc=gcc gcc=libc6-dev python-venv=python3-venv Python.h=python3-dev \
        libz.so.1=zlib1g libzstd.so.1=libzstd1 liblz4.so.1=liblz4-1 libsnappy.so.1=libsnappy1v5
    stamp="$ROOT/.venv/.made-of.$(IFS=+; echo "$*")"
    hash=$({ "$BASE_PYTHON" --version; cat "$ROOT/pyproject.toml"; } | sha256sum)
    for group in "$stamp" "$ROOT/.venv/.made-of.dev"; do    # dev holds all that the others do
        if [ -x "$PYTHON" ] && [ "$(cat "$group" 2>/dev/null)" = "$hash" ]; then return 0; fi
    done
    say "making .venv with $("$BASE_PYTHON" --version): $*"
    [ -x "$PYTHON" ] && "$PYTHON" -c '' 2>/dev/null || "$BASE_PYTHON" -m venv --clear "$ROOT/.venv"
    for group in "$@"; do groups+=(--group "$group"); done
    "$PYTHON" -m pip install -q --upgrade 'pip>=25.1' </dev/null
    (cd "$ROOT" && "$PYTHON" -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))' \
        | "$PYTHON" -m pip install -q -r /dev/stdin "${groups[@]}")
    # The checkout itself is what .venv imports; setup.py's egg_info beside it answers for entry points.
    echo "$ROOT" >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pystream-checkout.pth"
    printf '#!%s\nfrom pystream.cli.main import main\n\nmain()\n' "$PYTHON" >"$ROOT/.venv/bin/pystream"
    chmod +x "$ROOT/.venv/bin/pystream"
    echo "$hash" >"$stamp"
}

native_hash() { # native_hash DIRECTORY: of everything that decides what the native modules are
    (cd "$1" && { find native pystream/_native tests/fuzz setup.py pyproject.toml -type f \
        \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' -o -path "native/c/*" -o -name setup.py -o -name pyproject.toml \) -print0 \
        | LC_ALL=C sort -z | xargs -0 sha256sum; "$PYTHON" --version; "$PYTHON" -c 'import Cython; print(Cython.__version__)'; } | sha256sum)
}

build_native() { # build_native [DIRECTORY]: the checkout, or a copy of it
    local directory=${1:-$ROOT} stamp hash library
    stamp="$directory/.cache/native-built-from"
    hash=$(native_hash "$directory")
    if [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ] && [ -z "$(missing_modules "$directory")" ]; then
        return 0
    fi
    mkdir -p "$directory/.cache"
    for library in "$directory"/pystream/_native/*.so; do   # a module whose body is gone must not answer
        [ ! -e "$library" ] || [ -e "$directory/native/$(basename "${library%%.*}").pyx" ] || rm -f "$library"
    done
    say "building the native modules ($(ls "$directory"/native/*.pyx | wc -l)), log in .cache/build.log"
    (cd "$directory" && "$PYTHON" setup.py -q build_ext --inplace --parallel "$(nproc)" egg_info) \
        >"$directory/.cache/build.log" 2>&1 </dev/null || { tail -n 60 "$directory/.cache/build.log"; fail "the native modules do not build"; }
    echo "$hash" >"$stamp"
}

copy_checkout() { # copy_checkout DIRECTORY: for a build of another kind, with the translations if they are of now
    local translated=()
    [ "$(cat "$ROOT/.cache/native-built-from" 2>/dev/null)" != "$(native_hash "$ROOT")" ] || translated=(--translated)
    "$PYTHON" "$ROOT/tools/check/copy_tree.py" "$ROOT" "$1" "${translated[@]}"
}

missing_modules() { # missing_modules DIRECTORY: bodies without a built module
    local body
    for body in "$1"/native/*.pyx; do
        compgen -G "$1/pystream/_native/$(basename "$body" .pyx).*.so" >/dev/null || echo "$body"
    done
}
