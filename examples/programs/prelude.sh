# Read by the scripts of this directory: where fauxdax is, packages, and `try`, which runs one
# `fauxdax test` and says whether what came was what the script expects. A script is its own
# workload and check: it calls itself with a first word that is not an option.

set -uo pipefail
self=$(readlink -f "$0")
programs=$(dirname "$self")
# Version managers put slow shims before the programs of Debian; checks start them very often.
PATH=/usr/bin:$PATH
seconds_max=${FAUXDAX_PROGRAM_SECONDS:-60}
scratch=${TMPDIR:-/tmp}/fauxdax-programs
kept=$scratch/failures
as_expected=0 not_expected=0

if command -v fauxdax >/dev/null; then fauxdax=(fauxdax)
else fauxdax=(node "$programs/../../dist/tools/fauxdax.js"); fi

# debian PACKAGE...: installs those that are missing; status 77 when they cannot be had.
debian() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null || { echo "skipped: cannot install ${missing[*]}"; exit 77; }
}

# npm_package NAME@VERSION: installs it into a folder of its own, $packages, made once.
npm_package() {
  packages=$scratch/$1
  [ -d "$packages/node_modules" ] && return
  mkdir -p "$packages"
  npm install --silent --no-audit --no-fund --prefix "$packages" "$1" >/dev/null 2>&1 ||
    { rm -rf "$packages"; echo "skipped: cannot install $1"; exit 77; }
}

# try TITLE EXPECTED-STATUS fauxdax-test-arguments...
try() {
  local title=$1 expected=$2 status
  shift 2
  echo "== $title"
  "${fauxdax[@]}" test --seconds "$seconds_max" --keep "$kept" "$@"
  status=$?
  if [ $status -eq "$expected" ]; then as_expected=$((as_expected + 1))
  else not_expected=$((not_expected + 1)); fi
  echo "== $title: exit $status, expected $expected"
}

finish() {
  echo "$as_expected as expected, $not_expected not"
  exit $((not_expected > 0))
}

# acked_in: every acknowledged line is one of those on stdin; otherwise says which is not, status 1.
acked_in() {
  local lost
  lost=$(grep -vxFf - "$FAUXDAX_ACKED")
  [ -z "$lost" ] && return
  echo "acknowledged and lost: $(echo "$lost" | tr '\n' ' ')" >&2
  return 1
}
