#!/bin/bash
# dpkg-divert, which writes its database as dpkg does: is it ever broken, and does it know all
# diversions that were acknowledged?
. "$(dirname "$0")/prelude.sh"

divert() { dpkg-divert --admindir . --no-rename "$@"; }

case ${1:-} in
  divert)
    for number in 1 2 3 4; do
      divert --quiet --add "/usr/bin/program-$number" && echo "program-$number"
    done
    exit ;;
  whole) divert --list >/dev/null; exit ;;
  acked) divert --list | sed -n 's,.* of /usr/bin/\(program-[0-9]*\) to .*,\1,p' | acked_in; exit ;;
esac

for model in dax sector posix; do
  try "dpkg-divert: whole? $model" 0 --model $model \
    --workload "'$self' divert" --check "'$self' whole"
done
try 'dpkg-divert: acknowledged? dax' 1 --model dax \
  --workload "'$self' divert" --check "'$self' acked"
finish
