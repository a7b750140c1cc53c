#!/bin/bash
# The examples under `fauxdax test`: each variant under each model, with what should come out. One
# line a run; the last is `N as expected, N not`. Exit status 1 when one was not.
#
#   examples/run.sh [--model MODEL] [--variant buggy|fixed] [--results DIR] [--show] [NAME...]
#
# --results keeps the JSON of each run as NAME-VARIANT-MODEL.json, --show prints what fauxdax says.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../build/examples
model='' variant='' results='' show=''
run_seconds_max=${FAUXDAX_EXAMPLE_SECONDS:-120}

# Version managers put slow shims before the python3 of Debian; checks start it very often.
PATH=/usr/bin:$PATH
if command -v fauxdax >/dev/null; then fauxdax=(fauxdax)
else fauxdax=(node "$here/../dist/tools/fauxdax.js"); fi

while [ $# -gt 0 ]; do
  case $1 in
    --model) model=$2; shift 2 ;;
    --variant) variant=$2; shift 2 ;;
    --results) results=$2; shift 2 ;;
    --show) show=yes; shift ;;
    --help) sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 0 ;;
    -*) echo "run.sh: $1: unknown option, see --help" >&2; exit 2 ;;
    *) break ;;
  esac
done

mkdir -p "$out" || exit 3
out=$(cd "$out" && pwd)
[ -z "$results" ] || mkdir -p "$results" || exit 3
lines=$(node "$here/commands.mjs" "$out" "$@") || exit 2
right=0 wrong=0
log=$(mktemp) || exit 3
trap 'rm -f "$log"' EXIT

# run_one NAME VARIANT MODEL EXPECTED NAMES BUILD ARGUMENT...
run_one() {
  local title="$1 $2 $3" expected=$4 names=$5 build=$6 status
  local json=$log.json
  [ -z "$model" ] || [ "$model" = "$3" ] || return 0
  [ -z "$variant" ] || [ "$variant" = "$2" ] || return 0
  [ -z "$results" ] || json=$results/$1-$2-$3.json
  if [ -n "$build" ]; then
    mkdir -p "$out/$1"
    sh -c "$build" || { wrong=$((wrong + 1)); echo "not  $title: does not build"; return; }
  fi
  shift 6
  timeout "$run_seconds_max" "${fauxdax[@]}" test --json "$json" --keep "$out/failures" "$@" \
    >"$log" 2>&1
  status=$?
  if [ $status -ne "$expected" ]; then
    wrong=$((wrong + 1))
    echo "not  $title: exit $status, not $expected"
    cat "$log"
  elif [ $status -eq 1 ] && ! grep -qF "$names" "$log"; then
    wrong=$((wrong + 1))
    echo "not  $title: says nothing of $names"
    cat "$log"
  else
    right=$((right + 1))
    echo "ok   $title: exit $status"
    [ -z "$show" ] || cat "$log"
  fi
  [ -n "$results" ] || rm -f "$json"
}

while read -r line; do
  eval "run_one $line" </dev/null
done <<<"$lines"
echo "$right as expected, $wrong not"
[ $wrong -eq 0 ]
