# Shared by the scripts here, which source it from the checkout's root.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2119,SC2120 # used by the scripts that source it

# Outside the checkout: shared by clones, kept by `make clean`. Everything in it is made anew when missing.
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/tradingflow-maintenance"
BIN="$PWD/.venv/bin"

# left_out WHAT WHY: says what does not run here; a failure where nothing may be left out.
left_out() {
  if [[ ${REQUIRE_ALL:-} == 1 ]]; then
    echo "REQUIRE_ALL=1, but left out: $1: $2" >&2
    return 1
  fi
  echo "left out: $1: $2"
}

# installed PROGRAM PACKAGE: true when there; CI's machines get it by apt, nobody else's are changed.
installed() {
  command -v "$1" >/dev/null && return
  [[ ${CI:-} == true && $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
  apt_install "$2" && command -v "$1" >/dev/null
}

apt_install() {
  local log
  log=$(mktemp)
  if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@"; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# quietly NAME COMMAND...: one line when well, everything it printed when not.
quietly() {
  local name=$1 begin=$SECONDS output
  shift
  if output=$("$@" 2>&1 </dev/null); then
    echo "  $name ($((SECONDS - begin)) s)"
  else
    printf '%s\n  %s: FAILED\n' "$output" "$name" >&2
    return 1
  fi
}

# digest FILE... [- for stdin]: a short key of contents.
digest() { cat "$@" | sha256sum | cut -c1-16; }

# files of the checkout, committed or about to be, NUL-separated; folders given narrow it.
checkout_files() {
  git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -r -d '' file; do
    if [[ -e $file || -L $file ]]; then printf '%s\0' "$file"; fi
  done
}

# python_folder VERSION: the folder of a working pythonVERSION, on the PATH or of pyenv.
python_folder() {
  local candidate
  for candidate in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1"; do
    if [[ -x $candidate ]] && "$candidate" -c '' 2>/dev/null; then
      dirname "$candidate"
      return
    fi
  done
  return 1
}

# keep FOLDER ARCHIVE PATH...: an archive of what is below a folder; it appears complete or not at all.
keep() {
  tar -C "$1" --one-file-system --sort=name -I 'zstd -T0 -3' -cf "$2.partial" "${@:3}"
  mv "$2.partial" "$2"
}
