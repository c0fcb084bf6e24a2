#!/usr/bin/env bash
# Brings this checkout to a server, switches it over while it serves, and goes back by itself unless the new release
# proved that it works. Needs ssh (as root, or as somebody who may sudo without a password) and rsync here; systemd,
# Python 3.11 with venv, and rsync there.
set -euo pipefail

usage() {
    cat <<'END'
usage: deploy.sh [options] HOST            HOST as ssh knows it, e.g. root@bot.example.com; others than root use sudo
  --setup [--workers N]  the first time: makes user, folders and units; N workers (2)
  --env FILE             the environment to send (.env where there is one; else the host's stays)
  --prompts DIR          the cast to send (prompts); files that only the host has stay there
  --mirror-prompts       remove on the host what DIR has not
  --dry-run              say what would be sent; change nothing
  --rollback [ID]        back to the release before, or to ID
  --status               what runs there; exit 1 when anything does not, or runs old code
  --keep N               releases that stay on the host (5)
  --ssh-config FILE      as ssh -F
Exit codes: 0 done, 1 not done: the release before serves, 2 wrong usage
END
}
wrong() {
    echo "deploy.sh: $*" >&2
    exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
sent=(core webhook worker deploy pyproject.toml uv.lock README.md LICENSE)
base=/opt/sisters

host='' action=deploy workers=0 set_up=no env_file='' prompts=$root/prompts mirror=() keep=5 ssh_config=() back_to=''
value() { [ -n "$2" ] || wrong "$1 needs a value"; }
number() { [[ $2 =~ ^[1-9][0-9]{0,2}$ ]] || wrong "$1: should be a number from 1 to 999"; }
while [ $# -gt 0 ]; do
    case $1 in
    --setup) set_up=yes ;;
    --workers) number "$1" "${2:-}" && workers=$2 && shift ;;
    --env) value "$1" "${2:-}" && env_file=$2 && shift ;;
    --prompts) value "$1" "${2:-}" && prompts=$2 && shift ;;
    --mirror-prompts) mirror=(--delete) ;;
    --dry-run) action=dry-run ;;
    --rollback)
        action=rollback
        if [[ ${2:-} =~ ^[0-9]{8}-[0-9]{6} ]]; then back_to=$2 && shift; fi
        ;;
    --status) action=status ;;
    --keep) number "$1" "${2:-}" && keep=$2 && shift ;;
    --ssh-config) value "$1" "${2:-}" && ssh_config=(-F "$2") && shift ;;
    -h | --help) usage && exit 0 ;;
    -*) wrong "unknown option $1 (--help)" ;;
    *) [ -z "$host" ] || wrong "one HOST only"; host=$1 ;;
    esac
    shift
done
[ -n "$host" ] || { usage >&2 && exit 2; }
if [ "$set_up" = yes ] && [ "$workers" = 0 ]; then workers=2; fi
[ "$set_up" = yes ] || [ "$workers" = 0 ] || wrong "--workers goes with --setup; later: systemctl enable --now sisters-worker@N"
if [ -z "$env_file" ] && [ -e "$root/.env" ]; then env_file=$root/.env; fi
[ -z "$env_file" ] || [ -r "$env_file" ] || wrong "$env_file cannot be read"
[ -d "$prompts" ] || wrong "$prompts is no directory"

# A connection that is dead is noticed within 45 s.
ssh=(ssh "${ssh_config[@]}" -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3)
printf -v remote_shell '%q ' "${ssh[@]}"
# Both are read by the shell over there.
# shellcheck disable=SC2016
as_root='$([ "$(id -u)" = 0 ] || echo sudo -n)'
on_host() { "${ssh[@]}" "$host" "$as_root sh -c ${1@Q}"; }
push() { rsync --archive --compress --no-owner --no-group --rsh="$remote_shell" --rsync-path="$as_root rsync" "$@"; }

release_id() { # when and from what: sorts by time
    local commit=''
    if commit=$(git -C "$root" rev-parse --short=7 HEAD 2>/dev/null); then
        commit=-$commit
        [ -z "$(git -C "$root" status --porcelain -- "${sent[@]}" 2>/dev/null)" ] || commit+=-dirty
    fi
    echo "$(date -u +%Y%m%d-%H%M%S)$commit"
}
unknown_to_git() { # [git options]: what lies in the folders that are sent; nothing where this is no checkout
    git -C "$root" ls-files --error-unmatch pyproject.toml >/dev/null 2>&1 || return 0
    git -C "$root" -c core.quotePath=off ls-files --others --directory "$@" -- \
        "${sent[@]}" ':!deploy/compose' ':!deploy/kubernetes'
}
send_code() { # FOLDER [rsync options]: what serves, and nothing else of this directory; it is open to all over there
    push "${@:2}" --delete --prune-empty-dirs --chmod=D755,F644 \
        --exclude='__pycache__' --exclude='*.pyc' --exclude='/env' --exclude='/prompts' --exclude='/.venv' \
        --exclude='/deploy/compose' --exclude='/deploy/kubernetes' \
        --exclude-from=<(unknown_to_git | sed 's/[][\\*?]/\\&/g; s,^,/,') \
        "${sent[@]/#/$root/./}" --relative "$host:$1/"
}
tell_what_stays() { # a new file that works here and is missing there would be a riddle
    local stays
    stays=$(unknown_to_git --exclude-standard | tr '\n' ' ')
    [ -z "$stays" ] || echo "-- not sent, git does not know it: $stays"
}
send_prompts() { push "${@:2}" "${mirror[@]}" --chmod=D755,F644 "$prompts/" "$host:$1/prompts/"; }
send_env() { [ -z "$env_file" ] || push --chmod=F600 "$env_file" "$host:$1/env"; }

send() { # ID [ID before]: what has not changed since is not sent again
    local to=$base/releases/$1
    send_code "$to" ${2:+--link-dest="$base/releases/$2/"} && send_prompts "$to" && send_env "$to"
}

answer='' told='' before=''
hear() { # one word and its values from the host; nothing at its end
    read -r answer told before <&"${HOST_SAYS}" || return 1
}
say() { echo "$1" >&"${HOST_HEARS}"; }
not_done() {
    exec {HOST_HEARS}>&-
    wait "$session" || true
    echo "deploy.sh: not done; what served before serves${1:+ ($1)}" >&2
    exit 1
}

converse() { # ID FORWARD: the host works as long as we are there, and goes back when we are not
    local script=$base/.host-$$-$RANDOM.sh
    on_host "umask 077 && mkdir -p $base && chmod 755 $base && cat >$script" <"$here/host.sh" ||
        { echo "deploy.sh: not done; log in as root, or as somebody who may sudo without a password" >&2 && exit 1; }
    coproc HOST_SESSION { on_host "bash $script session '$1' $keep $workers $2; code=\$?; rm -f $script; exit \$code"; }
    session=$HOST_SESSION_PID
    exec {HOST_SAYS}<&"${HOST_SESSION[0]}" {HOST_HEARS}>&"${HOST_SESSION[1]}"
    local ends=${HOST_SESSION[1]}
    exec {ends}>&- # the host must see the end when we close ours
    while hear; do
        case $answer in
        send)
            echo "-- sending $told to $host${env_file:+, with $env_file as its environment}"
            tell_what_stays
            send "$told" "$before" || not_done "sending failed"
            say sent
            ;;
        back) echo "-- back to $told on $host" ;;
        proven) say keep ;;
        kept)
            echo "-- $told serves on $host"
            exec {HOST_HEARS}>&-
            wait "$session"
            return
            ;;
        *) not_done "the host said \"$answer\"" ;;
        esac
    done
    not_done
}

case $action in
status) on_host "bash -s -- status" <"$here/host.sh" || exit 1 ;;
dry-run)
    echo "would send to $host, as $(release_id):"
    tell_what_stays
    # Compared with what serves there; without an rsync on an empty folder nothing can be created.
    { send_code "$base/current" --dry-run --itemize-changes &&
        send_prompts "$base/current" --dry-run --itemize-changes; } || exit 1
    [ -z "$env_file" ] || echo "$env_file as the environment"
    ;;
rollback) converse "$back_to" no ;;
deploy) converse "$(release_id)" yes ;;
esac
