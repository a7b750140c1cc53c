#!/bin/sh
# A mailbox: each message is a file of its own, synced; then its name is printed as delivered.
set -e
for number in 1 2 3; do
  printf 'Subject: message %s\n\nHello.\n' "$number" >"message.$number"
  sync "message.$number"
  echo "message.$number"
done
