#!/bin/sh
# Every delivered message is there, whole.
while read -r name; do
  if ! [ -e "$name" ]; then
    echo "$name: delivered and not there" >&2
    exit 1
  fi
  if ! grep -q '^Hello.$' "$name"; then
    echo "$name: delivered and not whole" >&2
    exit 1
  fi
done <"$FAUXDAX_ACKED"
