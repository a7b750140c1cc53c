#!/bin/sh
# Builds fxdiff when its sources are newer, then runs it with the given arguments.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../../.." && pwd)/build/test
mkdir -p "$out"
newer() { find "$here" \( -name '*.cc' -o -name '*.h' \) -newer "$out/fxdiff"; }
if [ ! -x "$out/fxdiff" ] || [ -n "$(newer)" ]; then
  g++ -std=c++20 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$out/fxdiff.$$" "$here"/*.cc
  mv "$out/fxdiff.$$" "$out/fxdiff"
fi
exec "$out/fxdiff" "$@"
