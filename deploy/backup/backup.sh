#!/bin/sh
# Dumps the database into BACKUP_DIR and keeps the newest BACKUP_KEEP dumps.
#   backup.sh         every BACKUP_EVERY_S seconds for ever, as the container `backup` does
#   backup.sh once    now, as before an upgrade, or from a timer
#   backup.sh check   ends with 0 while the newest dump is young enough
#   backup.sh latest  says which one is the newest, whatever its database was called then
# The database is what PG* say; its password is PGPASSWORD, or in the file POSTGRES_PASSWORD_FILE.
set -eu
umask 077
every=${BACKUP_EVERY_S:-86400} keep=${BACKUP_KEEP:-14} within=${BACKUP_TIMEOUT_S:-3600}
directory=${BACKUP_DIR:-/backups}
again=$((every < 300 ? every : 300)) # after a dump that failed
export PGPASSWORD PGCONNECT_TIMEOUT=5
PGPASSWORD=${PGPASSWORD-$(cat "${POSTGRES_PASSWORD_FILE:-/run/secrets/postgres_password}")}

dumps() { # oldest first, by the time in their names: a database may be given another name
    find "$directory" -maxdepth 1 -name '*-????????T??????Z.dump' | sed 's/.*-\(.*\)\.dump$/\1 &/' | sort | cut -d ' ' -f 2-
}

latest() { dumps | tail -n 1; }

age_s() { # of the newest dump; very old when there is none
    last=$(latest)
    if [ -n "$last" ]; then echo $(($(date +%s) - $(stat -c %Y "$last"))); else date +%s; fi
}

dump() { # a dump has its name only once it is whole and on the disk
    file=$directory/$PGDATABASE-$(date -u +%Y%m%dT%H%M%SZ).dump
    rm -f "$directory"/*.partial
    timeout "$within" pg_dump --format=custom --file="$file.partial" &&
        has_tables "$file.partial" &&
        sync "$file.partial" &&
        mv "$file.partial" "$file" &&
        sync "$directory" || return 1
    dumps | head -n "-$keep" | while read -r old; do rm -f "$old"; done
    echo "dumped $(basename "$file"), $(stat -c %s "$file") bytes; $(dumps | wc -l) kept"
}

has_tables() { # a new, empty database where the old one was lost must not become the newest dump
    contents=$(pg_restore --list "$1") || return 1
    case $contents in *" TABLE DATA "*) return 0 ;; esac
    rm -f "$1"
    echo "$PGDATABASE has no tables yet: nothing to dump (if it was lost, restore.sh brings it back)" >&2
    return 1
}

alone() { # one dump at a time: who comes second waits, and takes nobody's half of one away
    exec 9>>"$directory/.lock"
    flock --wait "$within" 9 || { echo "another dump does not end" >&2; return 1; }
    code=0
    dump || code=$?
    exec 9>&-
    return "$code"
}

case ${1:-forever} in
once) alone ;;
latest) latest ;;
check) [ "$(age_s)" -lt $((2 * every + within)) ] ;;
forever)
    while :; do
        wait_s=$((every - $(age_s)))
        if [ "$wait_s" -le 0 ]; then
            wait_s=1
            alone || { echo "the dump failed; again in $again s" >&2; wait_s=$again; }
        fi
        sleep "$wait_s"
    done
    ;;
*) echo "usage: backup.sh [once|check|latest]" >&2; exit 2 ;;
esac
