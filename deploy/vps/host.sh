#!/usr/bin/env bash
# The host's half of deploy.sh, as root: builds a release, tries it, switches to it, and goes back unless it was proven.
#
#   host.sh session ID KEEP WORKERS FORWARD   what deploy.sh talks to: words on stdin, answers on stdout
#   host.sh settle | settle-at-boot | status
#
# /opt/sisters/releases/ID   code, .venv, env, prompts of one release; "proven" marks one that served,
#                            "before" names the one that it took over from
# /opt/sisters/current       the release that serves; code, environment and prompts turn around with this one link
# /opt/sisters/next          the release that is being tried
# /opt/sisters/switching     there while a switch is not proven; names the release to go back to
set -euo pipefail

BASE=/opt/sisters
UNITS=/etc/systemd/system
SECRETS=/etc/sisters/secrets
BACKUPS=/var/lib/sisters/backups
UV_VERSION=0.13.9
SERVICES=(sisters-webhook.service sisters-beat.service)
DEPLOYER_ANSWERS_WITHIN_S=120
BEGUN_AFTER_S=45
export UV_CACHE_DIR=${UV_CACHE_DIR:-$BASE/cache/uv} UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1

# Who listens may be gone (a laptop that was closed): that must never break what is being done.
tell() { echo "$*" >&2 || true; }
step() { still_there && tell "-- $*"; }
fail() {
    tell "host.sh: $*"
    exit 1
}

# ---- the deployer at the other end -------------------------------------------------------------------------------

answer() { echo "$*"; }
hear() { # WORD: waits for it
    local word=''
    read -r -t "$2" word || fail "deploy.sh is gone before it said \"$1\""
    [ "$word" = "$1" ] || fail "deploy.sh said \"$word\" instead of \"$1\""
}
still_there() { # nothing to read is good, the end of input is not
    local word='' code=0
    read -r -t 0.01 word || code=$?
    [ "$code" -gt 128 ] || fail "deploy.sh is gone"
}

# ---- releases ----------------------------------------------------------------------------------------------------

linked() { # current | next: the id that the link names, nothing where there is none
    if [ -L "$BASE/$1" ]; then basename "$(readlink "$BASE/$1")"; fi
}
link_to() { # current | next, ID
    ln -sfn "releases/$2" "$BASE/.$1" && mv -T "$BASE/.$1" "$BASE/$1"
}
proven_releases() { # oldest first
    local file
    for file in "$BASE"/releases/*/proven; do
        if [ -e "$file" ]; then basename "$(dirname "$file")"; fi
    done
}
release_before() { # ID: the one that it took over from, where that is still here
    local before
    before=$(cat "$BASE/releases/$1/before" 2>/dev/null || true)
    if [ -n "$before" ] && [ -e "$BASE/releases/$before/proven" ]; then echo "$before"; fi
}
env_value() { # NAME ID: as systemd reads a simple line
    sed -n "s/^$1=//p" "$BASE/releases/$2/env" | tail -n 1 | sed -e 's/[[:space:]]*$//' -e "s/^\"\(.*\)\"\$/\1/" -e "s/^'\(.*\)'\$/\1/"
}

build() { # ID: dependencies from the lock, everything compiled, because nobody may write there later
    local id=$1 release=$BASE/releases/$1 uv=$BASE/uv-$UV_VERSION/bin/uv compiled
    if [ ! -x "$uv" ]; then
        tell "-- uv $UV_VERSION"
        python3 -m venv "$BASE/uv-$UV_VERSION"
        "$BASE/uv-$UV_VERSION/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    fi
    cd "$release"
    "$uv" sync --frozen --no-dev --extra tracing --quiet --python "$(command -v python3)" </dev/null
    # Compiling takes longest: for the same lock and Python it is done once.
    compiled=$BASE/cache/compiled/$({ cat uv.lock && python3 -VV; } | sha256sum | cut -c 1-16)
    if [ -d "$compiled" ]; then rsync -a --link-dest="$compiled" "$compiled/" .venv/lib/; fi
    "$uv" sync --frozen --no-dev --extra tracing --quiet --compile-bytecode </dev/null
    rm -rf "$BASE/cache/compiled"
    mkdir -p "$compiled"
    rsync -a --include='*/' --include='*.pyc' --exclude='*' --prune-empty-dirs --link-dest="$release/.venv/lib" \
        .venv/lib/ "$compiled/"
    .venv/bin/python -m compileall -q core webhook worker deploy
    # A cast that changed is learnt now, else every worker would at its start; what is learnt stays beside the cast.
    XDG_CACHE_HOME=$release/.learnt .venv/bin/sisters route "hello" >/dev/null 2>&1 || true
    find .learnt -name '*.model' -exec mv {} prompts/likeness.model ';' 2>/dev/null || true
    rm -rf .learnt
    cd /
    echo "$id" >"$release/RELEASE"
    chown -R root:root "$release"
    chgrp -R sisters "$release/prompts"
    chmod -R u=rwX,g=rX,o= "$release/prompts"
    chmod 600 "$release/env"
}

install_units() { # ID [at-boot]: its unit files, and what its environment changes in them
    local id=$1 at_boot=${2:-} source=$BASE/releases/$1/deploy/systemd timeout address port before after file
    before=$(cat "$UNITS/sisters-webhook.socket.d/50-host.conf" 2>/dev/null || true)
    mkdir -p "$UNITS/sisters-.service.d" "$UNITS/sisters-webhook.socket.d"
    for file in "$source"/*.{service,socket,target,timer}; do # a release from before may lack a kind
        [ ! -e "$file" ] || cp "$file" "$UNITS/"
    done
    cp "$source"/sisters-.service.d/*.conf "$UNITS/sisters-.service.d/"
    timeout=$(env_value LLM_TIMEOUT_S "$id")
    address=$(env_value HOST "$id")
    port=$(env_value PORT "$id")
    address=${address:-127.0.0.1}
    case $address in *:*) address="[$address]" ;; esac
    printf '# Written by deploy.sh: HOST and PORT of the environment.\n[Socket]\nListenStream=\nListenStream=%s\n' \
        "$address:${port:-8000}" >"$UNITS/sisters-webhook.socket.d/50-host.conf"
    {
        printf '# Written by deploy.sh: LLM_TIMEOUT_S and 10 s; each file in %s as a credential.\n[Service]\n' "$SECRETS"
        awk -v s="${timeout:-45}" 'BEGIN { printf "TimeoutStopSec=%d\n", s + 10.999 }'
        local name
        for file in "$SECRETS"/*; do
            [ -f "$file" ] || continue
            name=$(basename "$file")
            printf 'LoadCredential=%s:%s\nEnvironment=%s_FILE=%%d/%s\n' "$name" "$file" "$name" "$name"
        done
    } >"$UNITS/sisters-.service.d/50-host.conf"
    systemctl daemon-reload
    after=$(cat "$UNITS/sisters-webhook.socket.d/50-host.conf")
    if [ -n "$before" ] && [ "$before" != "$after" ]; then
        tell "-- the port moves: nobody is served for a moment"
        if [ -n "$at_boot" ]; then # others wait for us: no waiting for them
            systemctl --no-block restart sisters-webhook.socket
            return
        fi
        systemctl stop sisters-webhook.service sisters-webhook.socket
        systemctl start sisters-webhook.socket
    fi
}

install_command() { # ID: `sisters` for whoever operates the bot; a release from before it had one changes nothing
    local source=$BASE/releases/$1/deploy/vps/command.py
    [ ! -e "$source" ] || install -D -m 755 "$source" /usr/local/sbin/sisters
}

start_backups() { # once, with the first one now: who switches the timer off keeps it off
    if [ ! -e "$BASE/backups-begun" ]; then
        systemctl enable --quiet --now sisters-backup.timer && touch "$BASE/backups-begun"
        systemctl start --no-block sisters-backup.service
    fi
    if systemctl is-enabled --quiet sisters-backup.timer && ! command -v pg_dump >/dev/null; then
        tell "-- NO BACKUP is made, pg_dump is missing; Debian: apt-get install postgresql-client;" \
            "or systemctl disable --now sisters-backup.timer"
    fi
}

prune() { # KEEP: the newest ones stay, what serves and what it took over from; leftovers of uploads that were cut off go
    local release id keep current
    current=$(linked current)
    keep=$(proven_releases | tail -n "$1" && release_before "$current")
    for release in "$BASE"/releases/*/; do
        id=$(basename "$release")
        [ "$id" = "$current" ] || grep -qxF "$id" <<<"$keep" || rm -rf "$release"
    done
    rm -f "$BASE"/.host-*.sh
    rm -rf "$BASE"/releases/*/deploy/compose/secrets # what deploy.sh once sent along, open to all
}

# ---- what runs ---------------------------------------------------------------------------------------------------

main_pid() { systemctl show --property=MainPID --value "$1"; }
running_release() { # UNIT: by where its process really stands, whatever any link says
    local pid
    pid=$(main_pid "$1")
    if [ "$pid" != 0 ]; then basename "$(readlink "/proc/$pid/cwd" 2>/dev/null || true)"; fi
}
our_units() { # what belongs to this host: the services, and the workers that run or are enabled
    printf '%s\n' "${SERVICES[@]}"
    {
        systemctl list-units --plain --no-legend 'sisters-worker@*.service' | awk '{ print $1 }'
        find "$UNITS/sisters.target.wants" -name 'sisters-worker@*.service' -printf '%f\n' 2>/dev/null
    } | sort -uV
}

run_current() { # careful | anyhow: brings every unit to the current release, one after the other
    local how=$1 unit id
    id=$(linked current)
    systemctl start sisters-webhook.socket || return 1
    for unit in $(our_units); do
        [ "$(running_release "$unit")" != "$id" ] || continue
        if [ "$how" = careful ]; then step "$unit"; fi
        if ! systemctl restart "$unit" || { [ "$how" = careful ] && ! proven "$unit"; }; then
            why "$unit"
            [ "$how" = anyhow ] || return 1
        fi
    done
    systemctl start sisters.target
}

proven() { # UNIT: nothing of the next one is touched before this one is at work
    local unit=$1 pid proof asked
    pid=$(main_pid "$unit")
    case $unit in
    sisters-trial.service) proof=sisters-proof@trial.service ;;
    sisters-webhook.service) proof=sisters-proof@webhook.service ;;
    sisters-worker@*) proof=sisters-proof@worker-$pid.service ;;
    sisters-beat.service)
        begun "$unit" "$pid"
        return
        ;;
    esac
    systemctl start "$proof" &
    asked=$!
    while kill -0 "$asked" 2>/dev/null; do
        if [ "$(main_pid "$unit")" != "$pid" ]; then # it ended meanwhile: no need to ask on
            systemctl stop "$proof"
        fi
        sleep 0.2
    done
    wait "$asked" || { why "$proof"; return 1; }
}
begun() { # UNIT, PID: it says so itself; one of a release from before that has begun when it still lives after a while
    local left=$BEGUN_AFTER_S
    until journalctl --quiet --output=cat "_PID=$2" | grep -q '"event": "beat_started"'; do
        if [ "$(main_pid "$1")" != "$2" ]; then
            tell "$1 did not begin"
            return 1
        fi
        [ $((left -= 1)) -gt 0 ] || return 0
        sleep 1
    done
}
why() { # UNIT: its last lines, for whoever looks at a failed deploy
    journalctl --no-pager --quiet --output=cat --lines=15 --unit="$1" >&2 || true
}

# ---- back to the proven release ----------------------------------------------------------------------------------

settle() { # ends a switch that was not proven; does nothing otherwise
    [ -e "$BASE/switching" ] || return 0
    local old
    old=$(cat "$BASE/switching")
    systemctl stop sisters-trial.service 2>/dev/null || true
    if [ -z "$old" ]; then
        tell "-- the first release was not proven: stopped"
        systemctl disable --quiet --now sisters.target "${SERVICES[@]}" sisters-webhook.socket || true
        systemctl stop 'sisters-worker@*.service' || true
        rm -f "$BASE/current"
    else
        tell "-- back to $old"
        link_to current "$old"
        link_to next "$old"
        install_units "$old"
        run_current anyhow || true # what does not come up is tried again by systemd
    fi
    rm -f "$BASE/switching" "$BASE/next"
}

settle_at_boot() { # the same before anything of ours starts: there is nothing to stop but what waits for us
    local old
    old=$(cat "$BASE/switching")
    if [ -n "$old" ]; then
        link_to current "$old" # first: without its own units it serves all the same
        install_units "$old" at-boot || tell "the units of $old could not be brought back"
    else
        rm -f "$BASE/current"
        systemctl disable --quiet sisters.target "${SERVICES[@]}" sisters-webhook.socket || true
        systemctl --no-block stop sisters.target || true
    fi
    rm -f "$BASE/switching" "$BASE/next"
}

guard() { # PID: waits for the end of the session, however it ends, then settles; holds the lock on meanwhile
    trap '' HUP INT PIPE
    set +e # one step that fails must not keep the others from being taken
    tail --pid="$1" -f /dev/null
    settle
}

# ---- the switch --------------------------------------------------------------------------------------------------

switch_to() { # ID FORWARD WORKERS
    local id=$1 forward=$2 workers=$3 number
    step "trying $id on a port of its own"
    guard "$$" </dev/null >/dev/null & # first: from the next line on there is something to go back from
    linked current >"$BASE/.switching" && mv "$BASE/.switching" "$BASE/switching"
    link_to next "$id"
    install_units "$id"
    if ! systemctl start sisters-trial.service || ! proven sisters-trial.service; then
        why sisters-trial.service
        fail "$id did not pass its trial; nothing was switched"
    fi
    systemctl stop sisters-trial.service
    if [ "$forward" = yes ]; then
        step "migrations"
        systemctl start sisters-migrate.service || { why sisters-migrate.service; fail "the migrations failed"; }
    fi
    step "switching to $id"
    link_to current "$id"
    if [ "$workers" -gt 0 ]; then
        systemctl enable --quiet sisters.target sisters-webhook.socket "${SERVICES[@]}" settle-sisters.service
        for number in $(seq "$workers"); do systemctl enable --quiet "sisters-worker@$number.service"; done
    fi
    run_current careful || fail "$id was not proven"
    answer proven
    hear keep "$DEPLOYER_ANSWERS_WITHIN_S"
    # A rollback writes nothing here: the one before the release that it goes back to stays what it was.
    if [ "$forward" = yes ]; then cp "$BASE/switching" "$BASE/releases/$id/before"; fi
    touch "$BASE/releases/$id/proven"
    rm -f "$BASE/switching" "$BASE/next"
}

session() { # ID KEEP WORKERS FORWARD
    local id=$1 keep=$2 workers=$3 forward=$4 old
    umask 022
    mkdir -p "$BASE/releases"
    exec 9>>"$BASE/lock"
    flock --nonblock 9 || fail "another deploy is at work (process $(cat "$BASE/session.pid" 2>/dev/null)); wait for it"
    echo "$$" >"$BASE/session.pid"
    settle
    old=$(linked current)
    if [ "$workers" -gt 0 ]; then check_host >&2 </dev/null; fi
    [ -n "$old" ] || [ "$workers" -gt 0 ] || fail "nothing is set up on this host: deploy.sh --setup"
    if [ "$forward" = yes ]; then
        mkdir -p "$BASE/releases/$id/prompts"
        if [ -n "$old" ]; then # what the deployer does not send stays as it is
            cp -a "$BASE/releases/$old/prompts/." "$BASE/releases/$id/prompts/"
            cp -a "$BASE/releases/$old/env" "$BASE/releases/$id/env"
        fi
        answer "send $id $old"
        hear sent 3600
        [ -s "$BASE/releases/$id/env" ] || fail "no environment: send a .env with the first deploy (--env FILE)"
        changed_names "$old" "$id"
        if [ "$workers" -gt 0 ]; then set_up "$id" >&2 </dev/null; fi
        step "packages from the lock"
        build "$id" >&2 </dev/null
    else
        id=$(previous_release "$id" "$old")
        answer "back $id"
        changed_names "$old" "$id"
    fi
    install -m 755 "$0" "$BASE/host.sh" # before there is anything to settle at boot
    switch_to "$id" "$forward" "$workers"
    install_command "$id" || tell "-- /usr/local/sbin/sisters could not be written; the bot serves without it"
    if [ "$forward" = yes ]; then start_backups || tell "-- the backups' timer could not be started"; fi
    prune "$keep"
    answer "kept $id"
}

changed_names() { # ID before or nothing, ID: which variables are others there
    local names
    [ -n "$1" ] || return 0
    names=$({ diff <(sort "$BASE/releases/$1/env") <(sort "$BASE/releases/$2/env") || true; } |
        sed -n 's/^[<>] \([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | sort -u | xargs)
    [ -z "$names" ] || tell "-- the environment changes: $names"
}

previous_release() { # ID or nothing, CURRENT: the one asked for, else the one that the current one took over from
    local wanted=$1 current=$2
    if [ -n "$wanted" ]; then
        proven_releases | grep -xF "$wanted" || fail "$wanted is not on this host; there are: $(proven_releases | xargs)"
    else # by its time where it was not written, or is not here any more
        release_before "$current" | grep . || proven_releases | awk -v current="$current" '$0 == current { exit } { last = $0 } END { print last }' | grep . ||
            fail "there is no release before $current"
    fi
}

check_host() {
    local program
    for program in python3 rsync systemctl flock; do
        command -v "$program" >/dev/null || fail "$program is missing; Debian: apt-get install python3-venv rsync"
    done
    python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Python 3.11 or newer with venv is needed; Debian: apt-get install python3-venv"
    [ -d /run/systemd/system ] || fail "systemd does not run here"
}

set_up() { # ID: the user of its processes, and where secrets lie
    install -D -m 644 "$BASE/releases/$1/deploy/systemd/sysusers.conf" /etc/sysusers.d/sisters.conf
    systemd-sysusers /etc/sysusers.d/sisters.conf
    install -d -m 700 /etc/sisters "$SECRETS"
}

# ---- status ------------------------------------------------------------------------------------------------------

status() { # ends with 1 when something does not run, or runs old code
    local current unit release state problems=0 id
    current=$(linked current)
    [ -n "$current" ] || { echo "nothing is deployed"; return 1; }
    echo "current   $current"
    for id in $(proven_releases | tac); do [ "$id" = "$current" ] || echo "kept      $id"; done
    if [ -e "$BASE/switching" ]; then
        if flock --nonblock "$BASE/lock" true; then
            echo "UNFINISHED: a switch was cut off; the next deploy, rollback or boot goes back to $(cat "$BASE/switching")"
            problems=1
        else
            echo "a deploy is at work"
        fi
    fi
    for unit in sisters-webhook.socket $(our_units); do
        state=$(systemctl show --property=ActiveState --value "$unit")
        release=$([ "$unit" = sisters-webhook.socket ] || running_release "$unit")
        printf '%-32s %-10s %s' "$unit" "$state" "$release"
        if [ "$state" != active ]; then
            printf '  NOT RUNNING'
            problems=1
        elif [ -n "$release" ] && [ "$release" != "$current" ]; then
            printf '  OLD CODE: restart it'
            problems=1
        fi
        echo
    done
    backups "$current" || problems=1
    return "$problems"
}

backups() { # CURRENT: ends with 1 when the last one failed, or none will be made
    local directory newest
    systemctl is-enabled --quiet sisters-backup.timer 2>/dev/null || { echo "backups   off"; return 0; }
    directory=$(env_value BACKUP_DIR "$1")
    newest=$(find "${directory:-$BACKUPS}" -name '*.dump' -printf '%f %s bytes\n' 2>/dev/null | sort | tail -n 1)
    echo "backup    ${newest:-none yet}"
    if systemctl is-failed --quiet sisters-backup.service; then
        echo "BACKUP FAILED: journalctl -u sisters-backup"
        return 1
    fi
    if ! systemctl is-active --quiet sisters-backup.timer; then
        echo "NO BACKUP is planned: systemctl start sisters-backup.timer"
        return 1
    fi
}

main() {
    local command=${1:-}
    case $command in
    session) session "$2" "$3" "$4" "$5" ;;
    settle)
        exec 9>>"$BASE/lock"
        flock 9
        settle
        ;;
    settle-at-boot) settle_at_boot ;;
    status) status ;;
    *) fail "unknown command: $command" ;;
    esac
}
main "$@"
