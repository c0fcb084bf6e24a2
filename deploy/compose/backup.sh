#!/bin/sh
# Dumps the database into /backups every BACKUP_EVERY_S seconds and keeps the newest BACKUP_KEEP dumps.
#   backup.sh         for ever, as the container `backup` does
#   backup.sh once    now, as before an upgrade
#   backup.sh check   ends with 0 while the newest dump is young enough
set -eu
umask 077
every=${BACKUP_EVERY_S:-86400} keep=${BACKUP_KEEP:-14} within=${BACKUP_TIMEOUT_S:-3600}
directory=${BACKUP_DIR:-/backups}
again=$((every < 300 ? every : 300)) # after a dump that failed
export PGPASSWORD PGCONNECT_TIMEOUT=5
PGPASSWORD=$(cat "${POSTGRES_PASSWORD_FILE:-/run/secrets/postgres_password}")

newest() { find "$directory" -maxdepth 1 -name '*.dump' | sort | tail -n 1; }

age_s() { # of the newest dump; very old when there is none
    last=$(newest)
    if [ -n "$last" ]; then echo $(($(date +%s) - $(stat -c %Y "$last"))); else date +%s; fi
}

dump() { # a dump has its name only once it is whole and on the disk
    file=$directory/$PGDATABASE-$(date -u +%Y%m%dT%H%M%SZ).dump
    rm -f "$directory"/*.partial
    timeout "$within" pg_dump --format=custom --file="$file.partial" &&
        pg_restore --list "$file.partial" >/dev/null &&
        sync "$file.partial" &&
        mv "$file.partial" "$file" &&
        sync "$directory" || return 1
    find "$directory" -maxdepth 1 -name '*.dump' | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
        rm -f "$old"
    done
    echo "dumped $(basename "$file"), $(stat -c %s "$file") bytes; $(find "$directory" -name '*.dump' | wc -l) kept"
}

case ${1:-forever} in
once) dump ;;
check) [ "$(age_s)" -lt $((2 * every + within)) ] ;;
forever)
    while :; do
        wait_s=$((every - $(age_s)))
        if [ "$wait_s" -le 0 ]; then
            wait_s=1
            dump || { echo "the dump failed; again in $again s" >&2; wait_s=$again; }
        fi
        sleep "$wait_s"
    done
    ;;
*) echo "usage: backup.sh [once|check]" >&2; exit 2 ;;
esac
