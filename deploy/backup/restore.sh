#!/bin/sh
# Restores a dump into an empty database and prints how many rows each table has:
#   docker compose -f docker-compose.yml -f deploy/compose/production.yml run --rm backup sh /restore.sh latest
#   restore.sh FILE|latest [DATABASE]     the database is made where there is none, and never emptied
# The latest is the one made last, whatever its database was called then.
set -eu
directory=${BACKUP_DIR:-/backups}
database=${2:-$PGDATABASE}
export PGPASSWORD PGCONNECT_TIMEOUT=5
PGPASSWORD=${PGPASSWORD-$(cat "${POSTGRES_PASSWORD_FILE:-/run/secrets/postgres_password}")}

case ${1:-} in
latest) file=$(sh "$(dirname "$0")/backup.sh" latest) ;;
"") echo "usage: restore.sh FILE|latest [DATABASE]; there are:" >&2; ls -l "$directory" >&2; exit 2 ;;
*) file=$directory/$(basename "$1") ;;
esac
[ -f "$file" ] || { echo "no such dump in $directory: ${1}" >&2; exit 1; }

ask() { psql --no-psqlrc --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$database" --command="$1"; }
tables="SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1"

exists=$(PGDATABASE=postgres psql --no-psqlrc -tA --set=name="$database" <<'SQL'
SELECT 1 FROM pg_database WHERE datname = :'name'
SQL
)
[ -n "$exists" ] || createdb "$database"
if [ -n "$(ask "$tables")" ]; then
    echo "$database is not empty; restore into another one, or drop and create it first" >&2
    exit 1
fi
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$database" "$file"
echo "restored $(basename "$file") into $database"
for table in $(ask "$tables"); do echo "$table $(ask "SELECT count(*) FROM \"$table\"")"; done
